"""The formulas by which stored weights change, shared by the kinds.

Every formula uses operators and `Ops` only, so it runs on NumPy and on torch alike, in float32, on
any run of rows unless it declares that it needs all of them. `W` is a weight as its file stores it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from deltareg.delta.maths.formula import Array, Ops, Tensor

Axis = Literal["rows", "columns"]
"""Which of the two of a matrix something is about."""


class LowRankSide(Protocol):
    """One side of a low-rank product, stored or computed."""

    def whole(self, ops: Ops) -> Array:
        """Return the matrix."""
        ...

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        """Return rows `start:stop` of the matrix."""
        ...


@dataclass(frozen=True, slots=True)
class Factor:
    """One side of a low-rank product, as it is stored.

    Attributes:
        tensor: A matrix, or a convolution's kernel whose trailing dimensions are one.
        flipped: Whether the product takes its transpose.
    """

    tensor: Tensor
    flipped: bool = False

    def whole(self, ops: Ops) -> Array:
        matrix = _matrix(ops.load(self.tensor))
        return matrix.T if self.flipped else matrix

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        if self.flipped:
            return _matrix(ops.load(self.tensor))[:, start:stop].T
        return _matrix(ops.load(self.tensor, start, stop))


@dataclass(frozen=True, slots=True)
class LowRank:
    """W + scale · left @ right, with scale = alpha / r (Hu et al. 2021, arXiv 2106.09685).

    Rank-stabilised LoRA differs in the scale alone: alpha / sqrt(r) (Kalajdzievski 2023, arXiv
    2312.03732). A kernel (out, in, h, w) is a matrix (out, in·h·w) here.

    Attributes:
        left: (n_out, r) in the orientation of W.
        right: (r, n_in).
        scale: The factor on the product.
    """

    left: LowRankSide
    right: LowRankSide
    scale: float
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        product = self.left.rows(start, stop, ops) @ self.right.whole(ops)
        return ops.add_scaled(weight, product.reshape(*weight.shape), self.scale)

    def factors(self, ops: Ops) -> tuple[Array, Array, float]:
        """Return left (n_out, r), right (r, n_in) and the scale."""
        return self.left.whole(ops), self.right.whole(ops), self.scale


@dataclass(frozen=True, slots=True)
class WeightDecomposed:
    """m · V / ‖V‖ with V = W + scale · left @ right (DoRA, Liu et al. 2024, arXiv 2402.09353).

    The norm is taken over each output: a row of W, or a column where W is stored (in, out).

    Attributes:
        direction: The low-rank update that makes V.
        magnitude: m, one number for each output.
        outputs: Whether an output is a row or a column of W.
    """

    direction: LowRank
    magnitude: Tensor
    outputs: Axis
    replaces = False

    @property
    def needs_whole(self) -> bool:
        """A column's norm needs every row."""
        return self.outputs == "columns"

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        turned = _matrix(self.direction.fold(weight, start, stop, ops))
        magnitude = ops.load(self.magnitude)
        if self.outputs == "columns":
            scaled = turned * (magnitude.reshape(1, -1) / ops.column_norms(turned))
        else:
            scaled = turned * (magnitude.reshape(-1, 1)[start:stop] / ops.row_norms(turned))
        return scaled.reshape(*weight.shape)


@dataclass(frozen=True, slots=True)
class PrincipalRemoval:
    """W less its `rank` largest singular components (PiSSA, Meng et al. 2024, arXiv 2404.02948).

    PiSSA trains these components as A and B, so a delta that was saved unconverted adds them to the
    rest of W, which is computed from W again on every load.
    """

    rank: int
    needs_whole = True
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        return weight - ops.svd_part(weight, self.rank)


@dataclass(frozen=True, slots=True)
class OrthonormalRemoval:
    """W - scale · Q[:, :rank] R[:rank] with W = QR (OLoRA, Büyükakyüz 2024, arXiv 2406.01775)."""

    rank: int
    scale: float
    needs_whole = True
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        return weight - ops.qr_part(weight, self.rank) * self.scale


@dataclass(frozen=True, slots=True)
class Replacement:
    """The stored tensor in place of W."""

    stored: Tensor
    needs_whole = False
    replaces = True

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        return ops.load(self.stored, start, stop)


@dataclass(frozen=True, slots=True)
class ScaledAddition:
    """W + scale · the stored tensor."""

    tensor: Tensor
    scale: float = 1.0
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        return weight + ops.load(self.tensor, start, stop) * self.scale


@dataclass(frozen=True, slots=True)
class RowReplacement:
    """W with some rows replaced, such as those of a few tokens.

    Attributes:
        rows: Which rows, each once.
        tensor: (len(rows), …), their new values.
    """

    rows: Sequence[int]
    tensor: Tensor
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        return ops.with_rows(weight, [row - start for row in self.rows], ops.load(self.tensor))


@dataclass(frozen=True, slots=True)
class RowExtension:
    """W with rows appended: those of the stored tensor that W does not have.

    Attributes:
        tensor: All rows, of which the first `kept` are W's own.
        kept: How many rows W has.
    """

    tensor: Tensor
    kept: int
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        if stop <= self.kept:
            return weight
        values = ops.load(self.tensor, start, stop)
        if start >= self.kept:
            return values
        own = self.kept - start
        return ops.with_rows(values, range(own), weight[:own])


@dataclass(frozen=True, slots=True)
class IdentityUpdate:
    """W unchanged: for a name that shared W's tensor and now needs its own."""

    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        return weight


def _matrix(array: Array) -> Array:
    return array if len(array.shape) == 2 else array.reshape(array.shape[0], -1)
