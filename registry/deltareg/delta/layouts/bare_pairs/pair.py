"""The formula of a pair of factors with its scale in a tensor, with or without a core."""

import math
from dataclasses import dataclass

import numpy as np

from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.maths.updates import Factor
from deltareg.errors import Problem
from deltareg.tensors.array import to_f32, view


@dataclass(frozen=True, slots=True)
class PairUpdate:
    """W + (alpha / r) · up @ down (Hu et al. 2021, arXiv 2106.09685); alpha is r if missing.

    A convolution has (n_out, r, 1, 1) and (r, n_in, h, w). With a core of (r, r, h, w) between two
    1x1 factors, the kernel is Σ up[o, p] core[p, q, h, w] down[q, i] (the Tucker form of LyCORIS,
    Yeh et al. 2024, arXiv 2309.14859).

    Attributes:
        up: (n_out, r).
        down: (r, n_in).
        alpha: One number.
        core: The kernel in the middle.
        is_flipped: Whether W is stored (in, out).
    """

    up: Tensor
    down: Tensor
    alpha: Tensor | None = None
    core: Tensor | None = None
    is_flipped: bool = False
    needs_whole = False
    replaces = False

    @property
    def rank(self) -> int:
        """Size of the inner dimension."""
        return self.down.shape[0]

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        left = Factor(self.down, flipped=True) if self.is_flipped else Factor(self.up)
        product = left.rows(start, stop, ops) @ self._right(ops)
        return weight + self._scale_by_alpha(product, ops).reshape(*weight.shape)

    def factors(self, ops: Ops) -> tuple[Array, Array, float]:
        """Return left (n_out, r) with the scale in it, right (r, n_in) and one."""
        left = Factor(self.down, flipped=True) if self.is_flipped else Factor(self.up)
        return self._scale_by_alpha(left.whole(ops), ops), self._right(ops), 1.0

    def fault(self, ops: Ops) -> Problem | None:
        """Return the problem of a zero alpha, which some programs read as the rank, others as zero."""
        alpha = self.alpha
        if alpha is None or np.any(to_f32(view(alpha.read(), alpha.dtype, alpha.shape), alpha.dtype)):
            return None
        message = "alpha is zero: some programs read that as no change, others as a scale of one"
        return Problem("bad_config", message, tensor=alpha.name, fix="write the alpha you mean")

    def misfit(self, shape: tuple[int, ...]) -> str:
        """Return why the tensors are no pair for a weight of this shape; empty if they are."""
        up, down, core = self.up.shape, self.down.shape, self.core
        if min(len(up), len(down)) < 2 or math.prod(up[2:]) != 1 or up[1] != down[0]:
            return f"up {list(up)} and down {list(down)} are no pair"
        if self.alpha is not None and math.prod(self.alpha.shape) != 1:
            return f"alpha {list(self.alpha.shape)} is more than one number"
        product = down[1:] if core is None else (down[1], *core.shape[2:])
        if core is not None and (
            core.shape[:2] != (self.rank, self.rank) or math.prod(down[2:]) != 1 or self.is_flipped
        ):
            return f"core {list(core.shape)} does not fit between up and down"
        expected = (shape[1], shape[0]) if self.is_flipped else shape
        if (up[0], *_trim_ones(product)) == (expected[0], *_trim_ones(expected[1:])):
            return ""
        return f"up {list(up)} and down {list(down)} do not fit {list(shape)}"

    def _right(self, ops: Ops) -> Array:
        if self.core is None:
            right = Factor(self.up, flipped=True) if self.is_flipped else Factor(self.down)
            return right.whole(ops)
        rank, inputs = self.rank, self.down.shape[1]
        cells = math.prod(self.core.shape[2:])
        core = ops.permute(ops.load(self.core).reshape(rank, rank, cells), 0, 2, 1)
        product = core.reshape(rank * cells, rank) @ Factor(self.down).whole(ops)
        kernel = ops.permute(product.reshape(rank, cells, inputs), 0, 2, 1)
        return kernel.reshape(rank, inputs * cells)

    def _scale_by_alpha(self, array: Array, ops: Ops) -> Array:
        if self.alpha is None:
            return array
        return array * (ops.load(self.alpha).reshape(1, 1) / self.rank)


def _trim_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Remove trailing dimensions of one: a 1x1 convolution is a linear layer."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
