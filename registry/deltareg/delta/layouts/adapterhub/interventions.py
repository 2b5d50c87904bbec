"""Edits of hidden states in a low-rank subspace, at the first and last positions of each row.

LoReFT and its relatives, Wu et al. 2024, arXiv 2404.03592.
"""

from dataclasses import dataclass

import numpy as np

from deltareg.delta.kind import HookInputs
from deltareg.delta.maths.formula import Array, Function, Integers, Ops, Tensor
from deltareg.errors import InvalidInput

MASK = "attention_mask"


@dataclass(frozen=True, slots=True)
class StoredProjection:
    """R as it is stored, (r, d).

    Attributes:
        matrix: R.
    """

    matrix: Tensor

    def rows(self, ops: Ops) -> Array:
        """Return R."""
        return ops.load(self.matrix)


@dataclass(frozen=True, slots=True)
class OrthonormalProjection:
    """R with orthonormal rows, as torch parametrises it with Householder reflections, r < d.

    With X = originalᵀ and V its part below the diagonal, Q is the first r columns of the product of
    I - τᵢ vᵢ vᵢᵀ, where vᵢ is column i of V with a one on the diagonal and τᵢ = 2 / (1 + ‖Vᵢ‖²).
    Columns are then signed by the diagonal of X, cut to whole numbers: an entry that training moved
    below one becomes zero, and its direction is lost. R = (base Q)ᵀ.

    Attributes:
        original: (r, d).
        start: The matrix that it began with, (d, d).
    """

    original: Tensor
    start: Tensor

    def rows(self, ops: Ops) -> Array:
        """Return R, (r, d)."""
        original = ops.load(self.original).T
        width, rank = original.shape
        basis = ops.concat([ops.identity(rank), ops.zeros(width - rank, rank)], 0)
        signs: list[Array] = []
        for at in reversed(range(rank)):
            below = original[at + 1 :, at : at + 1]
            one = ops.zeros(1, 1) + 1.0
            vector = ops.concat([ops.zeros(at, 1), one, below], 0)
            size = ops.total(vector * vector, 0)  # 1 + ‖Vᵢ‖²: the one on the diagonal is in it
            basis = basis - (vector @ (vector.T @ basis)) * ((one + 1.0) / size)
            signs.insert(0, ops.apply("trunc", original[at : at + 1, at : at + 1]))
        return (ops.load(self.start) @ (basis * ops.concat(signs, 1))).T


@dataclass(frozen=True, slots=True)
class InterventionUnit:
    """The change of a state x: (f(W x + b) - R x) R, without - R x if nothing is subtracted.

    Attributes:
        weight: W, (r, d).
        bias: b, (r,).
        projection: R.
        function: f; None for none.
        subtracts: Whether the state's own part in the subspace is taken away first.
    """

    weight: Tensor
    bias: Tensor
    projection: StoredProjection | OrthonormalProjection
    function: Function | None
    subtracts: bool

    def compute_added(self, states: Array, ops: Ops) -> Array:
        """Return the term to add, in the shape of the states."""
        rows = self.projection.rows(ops)
        source = states @ ops.load(self.weight).T + ops.load(self.bias)
        if self.function is not None:
            source = ops.apply(self.function, source)
        if self.subtracts:
            source = source - states @ rows.T
        return source @ rows


@dataclass(frozen=True, slots=True)
class Intervention:
    """Edits the first and the last positions of each row that are not padding.

    Both read the states before either writes; where they meet, the last positions' edit counts.

    Attributes:
        first: The edit of the first positions.
        last: That of the last ones.
        leading: How many are first.
        trailing: How many are last.
    """

    first: InterventionUnit
    last: InterventionUnit
    leading: int
    trailing: int

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return the layer's new output.

        Raises:
            InvalidInput: The mask is not that of these positions, as in decoding with a cache.
        """
        rows, length = value.shape[0], value.shape[1]
        mask = seen.arrays.get(MASK)
        mask = ops.zeros(rows, length) + 1.0 if mask is None else mask
        if tuple(mask.shape) != (rows, length):
            raise InvalidInput("an intervention takes whole rows with their mask, and no cache")
        order = np.arange(length, dtype=np.int64)
        begins = _first_of(mask, order, self.leading, ops)
        ends = _first_of(mask, order[::-1].copy(), self.trailing, ops)
        begins = begins * (-ends + 1.0)
        output = value
        for unit, marks, count in ((self.first, begins, self.leading), (self.last, ends, self.trailing)):
            if count:
                output = output + unit.compute_added(value, ops) * marks.reshape(rows, length, 1)
        return output


def _first_of(mask: Array, order: Integers, count: int, ops: Ops) -> Array:
    """Mark the first `count` ones of each row, counted in a given order of the positions."""
    size = len(order)
    earlier, later = np.triu_indices(size)
    ones = (ops.zeros(1, len(earlier)) + 1.0).reshape(-1)
    upto = ops.scatter((size, size), (order[earlier], order[later]), ones)
    rank = mask @ upto  # how many ones there are up to each position
    below = ops.apply("relu", -rank + float(count + 1)) - ops.apply("relu", -rank + float(count))
    return below * mask
