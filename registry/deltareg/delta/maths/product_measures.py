"""How two products of thin matrices differ, from inner products of their factors' columns.

A product of rank 64 is described by matrices (64, 64): with Gram matrices G = LᵀL and H = RRᵀ of its
factors, ‖L·R‖² is the sum of G ∘ H, and its singular values are those of C·Dᵀ with G = CᵀC and H = DᵀD
(Cholesky). That reads every number once, and takes a quarter of the time of the factors' QR
decompositions. It loses digits where columns are nearly dependent, or where sums cancel; how many is
known beforehand, and where it would be more than `BOUND` the decompositions are made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from deltareg.delta.maths.formula import Update, is_factored
from deltareg.delta.maths.low_rank import F64, FactoredChange, LowRankChange, cores_of
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.tensors.array import F32

BOUND = 1e-8
"""The largest relative error of norms and singular values, and the largest error of an overlap."""
_ROUNDING = 2e-15  # of an inner product in float64, as a share of the two lengths
_MOST_AMPLIFIED = BOUND / _ROUNDING
_RUN = 512  # rows whose float64 stays in the cache while they are multiplied
_TINY = 1e-6  # of the largest singular value: below it a direction is rounding of the factors


class StoredFactors(FactoredChange[np.float32]):
    """One as a delta holds it, in float32."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ProductMeasures:
    """How two products differ; one that is missing counts as zero.

    Attributes:
        norms: ‖ΔW_a‖ and ‖ΔW_b‖, Frobenius.
        apart: ‖ΔW_b - ΔW_a‖.
        inner: The sum of the elements of ΔW_a ∘ ΔW_b.
        sizes: The singular values of both, in falling order.
        overlap: ‖U_aᵀ U_b‖² / min(r), of the column spaces.
    """

    norms: tuple[float, float]
    apart: float
    inner: float
    sizes: tuple[F64, F64]
    overlap: float


def stored_factors(updates: Sequence[Update]) -> StoredFactors | None:
    """Return the factors of one weight's updates; None if they are no product."""
    first = updates[0] if len(updates) == 1 else None
    if first is None or not is_factored(first):
        return None
    left, right, scale = first.factors(NumPyOps())
    return StoredFactors(cast("F32", left), cast("F32", right), scale)


def measure_products(a: StoredFactors | None, b: StoredFactors | None) -> ProductMeasures:
    """Measure two changes of one weight of the same shape; at least one of them is not None."""
    with np.errstate(all="ignore"):  # what is not a number fails a comparison, and QR decides
        found = _measure_by_inner_products(a, b)
    return found or _measure_by_decomposition(a, b)


def numeric_rank(sizes: F64) -> int:
    """Count the singular values that are more than rounding noise."""
    return int(np.sum(sizes > _TINY * sizes.max(initial=0.0)))


def _measure_by_inner_products(a: StoredFactors | None, b: StoredFactors | None) -> ProductMeasures | None:
    """Return the measures; None where they would not hold `BOUND`."""
    if a is None or b is None:
        one = a or b
        assert one is not None
        found = _measure_one(_Gram(_multiply_columns(one.left, one.scale)), _Gram(_multiply_columns(one.right.T)))
        if found is None:
            return None
        norms = (found.norm, 0.0) if b is None else (0.0, found.norm)
        sizes = (found.sizes, np.zeros(0)) if b is None else (np.zeros(0), found.sizes)
        return ProductMeasures(norms, found.norm, 0.0, sizes, 0.0)
    lefts = _PairGram(a.rank, b.rank, _multiply_columns(a.left, a.scale, b.left, b.scale))
    rights = _PairGram(a.rank, b.rank, _multiply_columns(a.right.T, 1.0, b.right.T, 1.0))
    own_a, own_b = _measure_one(lefts.of_a, rights.of_a), _measure_one(lefts.of_b, rights.of_b)
    apart = _measure_step(lefts, rights)
    if own_a is None or own_b is None or apart is None:
        return None
    if numeric_rank(own_a.sizes) < a.rank or numeric_rank(own_b.sizes) < b.rank:
        return None  # the column space is not that of the whole factor
    angles = own_a.inverse @ (lefts.cross / np.outer(lefts.of_a.lengths, lefts.of_b.lengths)) @ own_b.inverse.T
    return ProductMeasures(
        (own_a.norm, own_b.norm),
        apart,
        float(np.sum(lefts.cross * rights.cross)),
        (own_a.sizes, own_b.sizes),
        float(np.sum(np.square(angles))) / min(a.rank, b.rank),
    )


class _Gram:
    """Inner products of the columns of a matrix.

    Attributes:
        matrix: (r, r).
        lengths: (r,): of the columns, or of the sums that they were made of: what their rounding is a
            share of.
    """

    def __init__(self, matrix: F64, lengths: F64 | None = None) -> None:
        self.matrix = matrix
        self.lengths = np.sqrt(np.diagonal(matrix)) if lengths is None else lengths

    def root(self) -> tuple[F64, F64] | None:
        """Return C (r, r), lower, with CCᵀ this matrix at columns of length one, and C⁻¹.

        None where a column is too near to the span of the others.
        """
        try:
            root: F64 = np.linalg.cholesky(self.matrix / np.outer(self.lengths, self.lengths)).astype(
                np.float64, copy=False
            )
            inverse: F64 = np.linalg.inv(root).astype(np.float64, copy=False)
        except np.linalg.LinAlgError:
            return None
        # The largest eigenvalue of (CCᵀ)⁻¹ is at most its trace.
        return (root, inverse) if float(np.sum(np.square(inverse))) <= _MOST_AMPLIFIED else None


class _PairGram:
    """Inner products of the columns of a and b.

    Of factors of the same rank those of a and of b - a are known, so that what nearly equal ones
    differ by does not drown in rounding.
    """

    def __init__(self, rank_a: int, rank_b: int, matrix: F64) -> None:
        first, second = slice(rank_a), slice(rank_a, None)
        self.is_of_steps = rank_a == rank_b
        self.matrix = matrix
        self.of_a = _Gram(matrix[first, first])
        self.cross, own = matrix[first, second], matrix[second, second]
        if not self.is_of_steps:
            self.of_b = _Gram(own)
            return
        self.steps = np.sqrt(np.diagonal(own))
        own = self.of_a.matrix + self.cross + self.cross.T + own
        self.of_b = _Gram(own, self.of_a.lengths + self.steps)
        self.cross = self.of_a.matrix + self.cross

    @property
    def turned(self) -> F64:
        """The inner products with M = [[0, 1], [1, 1]] behind it, where b·b' - a·a' = [a d] M [a' d']."""
        half = len(self.matrix) // 2
        return np.concatenate([self.matrix[:, half:], self.matrix[:, :half] + self.matrix[:, half:]], axis=1)


@dataclass(frozen=True, slots=True)
class _Own:
    """Measures of one product.

    Attributes:
        norm: Frobenius.
        sizes: Its singular values.
        inverse: C⁻¹ of its left factor.
    """

    norm: float
    sizes: F64
    inverse: F64


def _measure_one(left: _Gram, right: _Gram) -> _Own | None:
    square = _check_rounding(float(np.sum(left.matrix * right.matrix)), float(left.lengths @ right.lengths))
    tall, wide = left.root(), right.root()
    if not square or tall is None or wide is None:
        return None
    core = (tall[0].T * left.lengths) @ (right.lengths[:, None] * wide[0])
    sizes: F64 = np.linalg.svd(core, compute_uv=False).astype(np.float64, copy=False)
    return _Own(float(np.sqrt(square)), sizes, tall[1])


def _measure_step(left: _PairGram, right: _PairGram) -> float | None:
    """Return the norm of the difference; None where it cancels too much."""
    if left.is_of_steps:
        square = float(np.sum(left.turned * right.turned.T))
        of_a = left.of_a.lengths @ right.steps + left.steps @ right.of_a.lengths
        most = float(of_a + left.steps @ right.steps)
    else:
        squares = np.sum(left.of_a.matrix * right.of_a.matrix) + np.sum(left.of_b.matrix * right.of_b.matrix)
        square = float(squares - 2 * np.sum(left.cross * right.cross))
        most = float(left.of_a.lengths @ right.of_a.lengths + left.of_b.lengths @ right.of_b.lengths)
    settled = _check_rounding(square, most)
    return None if settled is None else float(np.sqrt(settled))


def _check_rounding(square: float, most: float) -> float | None:
    """Return a square that is a sum of inner products; None where rounding is too much of it.

    Args:
        square: The sum.
        most: What its root would be if nothing cancelled.
    """
    return square if most * most <= _MOST_AMPLIFIED * square else None


def _multiply_columns(one: F32, scale: float = 1.0, other: F32 | None = None, other_scale: float = 1.0) -> F64:
    """Return the inner products of all columns, in float64, a run of rows at a time.

    Args:
        one: (n, r).
        scale: A factor on it.
        other: (n, s), appended; of the same width as `one` what it differs by is appended instead.
        other_scale: A factor on it.
    """
    height, rank = one.shape
    width = rank + (0 if other is None else other.shape[1])
    total = np.zeros((width, width))
    room = np.empty((min(_RUN, height), width))
    for start in range(0, height, _RUN):
        rows = room[: min(_RUN, height - start)]
        np.multiply(one[start : start + _RUN], scale, out=rows[:, :rank], dtype=np.float64)
        if other is not None:
            np.multiply(other[start : start + _RUN], other_scale, out=rows[:, rank:], dtype=np.float64)
            if width == 2 * rank:
                rows[:, rank:] -= rows[:, :rank]
        total += rows.T @ rows
    return total


def _measure_by_decomposition(a: StoredFactors | None, b: StoredFactors | None) -> ProductMeasures:
    """Measure in a shared basis: ΔW = Q · core · Pᵀ, with orthonormal Q and P."""
    core_a, core_b = cores_of([_widen(a), _widen(b)])
    u_a, sizes_a, _ = np.linalg.svd(core_a)
    u_b, sizes_b, _ = np.linalg.svd(core_b)
    return ProductMeasures(
        (float(np.linalg.norm(core_a)), float(np.linalg.norm(core_b))),
        float(np.linalg.norm(core_b - core_a)),
        float(np.sum(core_a * core_b)),
        (sizes_a, sizes_b),
        _overlap(u_a[:, : numeric_rank(sizes_a)], u_b[:, : numeric_rank(sizes_b)]),
    )


def _widen(factors: StoredFactors | None) -> LowRankChange | None:
    if factors is None:
        return None
    return LowRankChange(factors.left.astype(np.float64), factors.right.astype(np.float64), factors.scale)


def _overlap(u_a: F64, u_b: F64) -> float:
    least = min(u_a.shape[1], u_b.shape[1])
    return float(np.sum(np.square(u_a.T @ u_b))) / least if least else 0.0
