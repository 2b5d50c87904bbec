"""How formulas of the LoRA family fit a weight: computed sides, and their orientation.

A formula is written for a layer n_in -> n_out as a matrix (n_out, n_in). Where the weight is stored
(in, out), as GPT-2's Conv1D is, both sides are transposed and swapped.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.layouts.peft.peft_kind import Site
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.maths.updates import Factor, LowRank, LowRankSide


@dataclass(frozen=True, slots=True)
class TransposedSide:
    """The transpose of a side."""

    side: LowRankSide

    def whole(self, ops: Ops) -> Array:
        return self.side.whole(ops).T

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        return self.side.whole(ops)[:, start:stop].T


@dataclass(frozen=True, slots=True)
class ScaledRows:
    """A matrix with a factor for each row.

    Attributes:
        matrix: (n, m).
        factors: As many numbers as the matrix has rows, in any shape.
    """

    matrix: LowRankSide
    factors: Tensor

    def whole(self, ops: Ops) -> Array:
        return self.matrix.whole(ops) * ops.load(self.factors).reshape(-1, 1)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        factors = ops.load(self.factors).reshape(-1, 1)
        return self.matrix.rows(start, stop, ops) * factors[start:stop]


@dataclass(frozen=True, slots=True)
class ScaledCorner:
    """The leading rows and columns of a matrix, with a number on each row.

    Attributes:
        matrix: At least as large.
        factors: At least as many as rows; the first ones count.
        height: Rows.
        width: Columns.
    """

    matrix: Tensor
    factors: Tensor
    height: int
    width: int

    def whole(self, ops: Ops) -> Array:
        return self.rows(0, self.height, ops)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        factors = ops.load(self.factors, start, stop, is_part=True).reshape(-1, 1)
        return ops.load(self.matrix, start, stop, is_part=True)[:, : self.width] * factors


def layer(site: Site) -> tuple[int, int]:
    """Return n_out and n_in of a layer if the delta's tensors do not show them.

    For a base of an unknown type, `fan_in_fan_out` decides how it is stored.
    """
    n_out, n_in = site.out_in()
    is_flipped_by_word = site.told_transposed and not site.base.names.is_type_known
    return (n_in, n_out) if is_flipped_by_word else (n_out, n_in)


def is_flipped(site: Site, n_out: int, n_in: int) -> bool:
    """Check a layer n_in -> n_out against the weight; return whether it is stored (in, out).

    Args:
        site: The adapted module.
        n_out: Outputs, by the delta's tensors.
        n_in: Inputs; a kernel (out, in, h, w) has in·h·w.

    Raises:
        Refused: `shape` if the weight does not fit the layer.
    """
    flipped = site.is_transposed(n_out, n_in)
    layer_shape = (n_in, n_out) if flipped else (n_out, n_in)
    if layer_shape != (site.shape[0], math.prod(site.shape[1:])):
        message = f"its tensors are for {n_in} -> {n_out}, and {site.target} is {list(site.shape)}"
        raise site.refuse("shape", message)
    return flipped


def plain_layer(site: Site, n_out: int, n_in: int) -> None:
    """Check a layer against a weight that can only be stored (out, in).

    Raises:
        Refused: `shape` if it does not fit, or if it is stored (in, out), for which the library has
            no such update.
    """
    if is_flipped(site, n_out, n_in):
        message = f"{site.target} is stored (in, out), and the library writes no such delta for that"
        raise site.refuse("shape", message, fix="check the base")


def low_rank(site: Site, left: LowRankSide, right: LowRankSide, *, out_in: tuple[int, int], scale: float) -> LowRank:
    """Build W + scale · left @ right, oriented as the weight is stored.

    Args:
        site: The adapted module.
        left: (n_out, r).
        right: (r, n_in).
        out_in: n_out and n_in, by the delta's tensors.
        scale: The factor on the product.

    Raises:
        Refused: `shape` if the weight does not fit the layer.
    """
    if is_flipped(site, *out_in):
        return LowRank(_flip(right), _flip(left), scale)
    return LowRank(left, right, scale)


def sizes(site: Site, role: str, dims: int = 2) -> tuple[int, ...]:
    """Return the shape of a site's tensor, which must have this number of dimensions.

    Raises:
        Refused: `shape` when it has more or fewer.
    """
    shape = site.tensors[role].shape
    if len(shape) != dims:
        raise site.refuse("shape", f"{list(shape)} does not have {dims} dimensions", role)
    return shape


def require(site: Site, *roles: str) -> None:
    """Require tensors that belong together.

    Raises:
        Refused: `missing_tensors` if one is missing.
    """
    for role in roles:
        if role not in site.tensors:
            raise site.refuse("missing_tensors", f"its {role} is missing")


def check_rank(site: Site, found: Iterable[int], told: float) -> None:
    """Check the rank of the tensors against the config's.

    Raises:
        Refused: `rank` when they differ.
    """
    other = [rank for rank in found if rank != told]
    if other:
        fix = "the config must be the one that was trained with"
        raise site.refuse("rank", f"it is of rank {other[0]}, and the config says {told}", fix=fix)


def check_size(site: Site, found: int, default: int, some: ModuleNumbers) -> None:
    """Check a size that differs between modules against all sizes in the config.

    Kinds match patterns to modules differently, and the tensors have the size anyway.

    Raises:
        Refused: `rank` if the config does not have the size.
    """
    sizes = {float(default), *some.values}
    if found not in sizes:
        declared = ", ".join(str(int(size)) for size in sorted(sizes))
        fix = "the config must be the one that was trained with"
        raise site.refuse("rank", f"its size is {found}, and the config says {declared}", fix=fix)


def _flip(side: LowRankSide) -> LowRankSide:
    if isinstance(side, TransposedSide):
        return side.side
    if isinstance(side, Factor):
        return Factor(side.tensor, flipped=not side.flipped)
    return TransposedSide(side)
