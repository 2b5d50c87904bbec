"""No matrix was clipped, rounded to a few levels, emptied or multiplied away after training.

Training leaves numbers of all sizes, and no two alike. Matrices that hold a dozen different values
were quantised with one scale for all of each; one in which many share the largest size was clipped
to fit a format; a factor that is zero here and there was pruned, and one of which most directions
are zero was cut to a smaller rank by taking the first of them. And training adds to weights: where
a computed change leaves little of one, the factors are misread, such as those that were stored
minus one.

A few steps of an optimizer that follows signs leave few sizes, too, and the largest at many places.
But it adds them to random initial numbers, so not all matrices have few sizes; and where sizes are
few, many of the largest prove nothing. A factor on every channel may turn some of them round, and
leave little of one weight along the former: so nothing may be left of a weight's size, or little along
the middle weight of all.

A change without any small sizes has kept only the largest. Merges by trimming do that and can be
good, so it only warns. A change that is stored as such is zero where a sparse training left the
weight alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np

from deltareg.delta.kind import WeightUpdate
from deltareg.delta.maths.formula import StoredUpdate, Tensor, is_factored
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.delta.maths.updates import ScaledAddition
from deltareg.delta.traits import traits_of
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg.tensors.array import F32
from deltareg.tensors.header import FLOAT_DTYPES
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.engine import WeightChange
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.checks.idle import computed_targets

_OPS = NumPyOps()
_LEAST, _LOOKED_AT = 1024, 16384
_FINER = 4  # times as many levels the base must have for few of them to be a finding
_EDGE = 1 - 1e-3
_SIZES, _MOST_SIZES = 1000, 200  # steps of the largest; so few that occur are sums of few signs
_FIRST, _SMALL = 0.01, 0.3  # of a hundred trained changes one at least is this small
_ALL = 99.0
_STEPS = {"F32": 2.0**-23, "F16": 2.0**-10, "BF16": 2.0**-7, "F64": 2.0**-23}
_MOST_STEPS = 64  # a change of fewer steps of its dtype has few sizes by nature


@dataclass(frozen=True, slots=True)
class CutMatrix:
    """How far a matrix looks cut, as a share of the limit: it is cut above 1.

    Attributes:
        name: The tensor's name.
        over: How many times the limit.
        told: The description of it, for people.
        is_fault: Whether it fails the delta; some signs only warn.
    """

    name: str
    over: float
    description: str
    is_fault: bool = True


@dataclass(frozen=True, slots=True)
class CutLimits:
    """The limits of what passes.

    Attributes:
        levels: A matrix must have more different values than this.
        edge: The share of numbers that may have the largest size.
        zeros: The share of a factor that may be zero here and there.
        empty: The share of a product's directions that may be zero in both factors.
        kept: The share of a weight that a computed change must leave.
    """

    levels: float
    edge: float
    zeros: float
    empty: float
    kept: float


def run(case: Case, spec: CheckSpec) -> Finding:
    """Look at a sample of every stored matrix, and at all directions of products."""
    limits = CutLimits(*(spec.number(f"{name}") for name in _NAMES))
    matrices = [
        *_inspect_stored(case, limits),
        *_factors(case, limits),
        *_products(case, limits),
        *_find_erased(case, limits),
    ]
    if not matrices:
        return Finding("n/a", detail="the delta stores no matrix of a thousand numbers")
    worst = max(matrices, key=lambda one: (one.over > 1, one.is_fault, one.over))
    if worst.over > 1:
        sick = {one.name for one in matrices if one.over > 1 and one.is_fault == worst.is_fault}
        more = f", and {len(sick) - 1} more" if len(sick) > 1 else ""
        detail = f"{worst.name}{more}: {worst.description}"
        over = round(worst.over, 3)
        return Finding("fail" if worst.is_fault else "warn", over, 1, code="cut_values", detail=detail)
    worst = max(matrices, key=lambda one: one.over)
    detail = f"{len({one.name for one in matrices})} matrices; nearest to a limit {worst.name}: "
    return Finding("pass", round(worst.over, 3), 1, detail=f"{detail}{worst.description}")


def _inspect_stored(case: Case, limits: CutLimits) -> Iterator[CutMatrix]:
    """Check weights that are stored whole: their levels, and the edge of their change."""
    for effect in case.account.effects:
        if not isinstance(effect, WeightUpdate) or not isinstance(effect.update, StoredUpdate):
            continue
        stored, source = effect.update.stored, case.base.tensors.get(effect.source)
        if source is None or source.shape != stored.shape or not _is_large(stored):
            continue
        new, old = _part(stored), _part(source)
        levels = len(np.unique(new))
        if levels > 1 and len(np.unique(old)) >= _FINER * levels:
            yield _coarse(stored.name, levels, limits)
        change = new - old
        step = _STEPS.get(stored.dtype, 1.0) * float(np.abs(old).max())
        if float(np.abs(change).max()) > _MOST_STEPS * step:
            yield from _find_clipping(stored.name, change, limits, "its change has")
            yield from _largest_kept(stored.name, change, limits)


def _factors(case: Case, limits: CutLimits) -> Iterator[CutMatrix]:
    """Check the delta's own matrices, from which a change is computed."""
    whole = {
        effect.update.stored.name
        for effect in case.account.effects
        if isinstance(effect, WeightUpdate) and isinstance(effect.update, StoredUpdate)
    }
    changes = {
        effect.update.tensor.name
        for effect in case.account.effects
        if isinstance(effect, WeightUpdate) and isinstance(effect.update, ScaledAddition)
    }
    coarse: list[CutMatrix] = []
    for name, tensor in case.folder.tensors.items():
        if name in whole or name not in case.account.roles or not _is_large(tensor):
            continue
        values = _part(tensor)
        levels = len(np.unique(values))
        if levels > 1:
            coarse.append(_coarse(name, levels, limits))
            yield from _find_clipping(name, values, limits, "has")
            holes = _largest_kept if name in changes else _find_pruning
            yield from holes(name, values, limits)
    if 2 * sum(one.over > 1 for one in coarse) > len(coarse):
        yield from coarse


def _products(case: Case, limits: CutLimits) -> Iterator[CutMatrix]:
    """Find directions of products that are zero in both factors."""
    for effect in case.account.effects:
        if isinstance(effect, WeightUpdate) and is_factored(effect.update):
            left, right, _ = effect.update.factors(_OPS)
            tall, wide = cast("F32", left), cast("F32", right)
            is_empty = np.atleast_1d(~tall.any(axis=0) & ~wide.any(axis=1))
            if 0 < is_empty.sum() < len(is_empty):
                share = float(is_empty.mean())
                detail = f"{is_empty.sum()} of its {len(is_empty)} directions are zero on both sides"
                yield CutMatrix(effect.target, share / limits.empty, f"{detail}: its rank was cut")


def _find_erased(case: Case, limits: CutLimits) -> Iterator[CutMatrix]:
    """Find weights of which a computed change leaves little, and deltas that do so to most weights.

    A weight that is stored whole may be a new one altogether, such as a fresh head. A kind that turns
    weights leaves them their size.
    """
    computed = computed_targets(case.account)
    sized = [c for c in case.changes if c.target in computed and not c.is_vector and c.weight_rms > 0]
    for change in sized:
        left = _size_left(change)
        if left < 1:
            detail = f"{left:.0%} of the base's values are left, as if they were zeroed or pruned"
            yield CutMatrix(change.target, _over(limits.kept, left), detail)
    along = sorted((c for c in sized if c.kept != 1), key=lambda c: c.kept)
    middle = along[len(along) // 2] if along else None
    if middle is not None and middle.kept < 1 and not traits_of(case.account.delta).turns:
        detail = (
            f"{middle.kept:.0%} of the base's values are left in it, the middle one of {len(along)} weights,"
            " as if they were zeroed or pruned"
        )
        yield CutMatrix(middle.target, _over(limits.kept, middle.kept), detail)


def _size_left(change: WeightChange) -> float:
    """Return the size of the new weight as a share of the former: |W + D|² = |W|² + 2 W·D + |D|²."""
    square = 2 * change.kept - 1 + (change.delta_rms / change.weight_rms) ** 2
    return math.sqrt(square) if square > 0 else 0.0  # rounding; a NaN is for `finite`


def _over(least: float, share: float) -> float:
    return min(least / share, _ALL) if share > 0 else _ALL


def _largest_kept(name: str, change: F32, limits: CutLimits) -> Iterator[CutMatrix]:
    """Find a change that is zero at most places, and nowhere small."""
    rows = _without_empty(change)
    sizes = np.abs(rows[rows != 0])
    share = 1 - sizes.size / max(1, rows.size)
    if sizes.size and np.quantile(sizes, _FIRST) > _SMALL * np.median(sizes):
        detail = f"its change is zero at {share:.0%} of all places and small at none: it was pruned"
        yield CutMatrix(name, share / limits.zeros, detail, is_fault=False)


def _coarse(name: str, levels: int, limits: CutLimits) -> CutMatrix:
    detail = f"only {levels} different values, as if it had been quantised with one scale"
    return CutMatrix(name, limits.levels / levels, detail)


def _find_clipping(name: str, values: F32, limits: CutLimits, has: str) -> Iterator[CutMatrix]:
    sizes = np.abs(values)
    most = float(sizes.max())
    if not (most > 0 and np.isfinite(most)):
        return
    if len(np.unique(np.rint(sizes * (_SIZES / most)))) <= _MOST_SIZES:
        yield CutMatrix(name, 0.0, f"{has} few sizes, as a few steps by signs leave")
    else:
        share = float(np.mean(sizes >= most * _EDGE))
        detail = f"{has} {share:.1%} of all numbers at the largest size, as if it had been clipped"
        yield CutMatrix(name, share / limits.edge, detail)


def _find_pruning(name: str, values: F32, limits: CutLimits) -> Iterator[CutMatrix]:
    """Count zeros that stand between other numbers; rotations begin as diagonals and do not count."""
    rows = _without_empty(values)
    numbers = np.count_nonzero(rows)
    if numbers > max(rows.shape):
        share = 1 - float(numbers) / rows.size
        detail = f"{share:.0%} of it is zero here and there, as if it had been pruned"
        yield CutMatrix(name, share / limits.zeros, detail)


def _without_empty(values: F32) -> F32:
    """Drop rows and columns that are all zero: unused words, inputs that never occurred."""
    return values[values.any(1)][:, values.any(0)]


def _is_large(tensor: Tensor) -> bool:
    return (
        tensor.dtype in FLOAT_DTYPES
        and len(tensor.shape) > 1
        and min(tensor.shape[0], int(np.prod(tensor.shape[1:]))) > 1
        and int(np.prod(tensor.shape)) >= _LEAST
    )


def _part(tensor: Tensor) -> F32:
    """Return rows from the middle of a matrix, as many as are enough."""
    width = int(np.prod(tensor.shape[1:]))
    count = min(tensor.shape[0], max(8, _LOOKED_AT // width))
    start = (tensor.shape[0] - count) // 2
    return cast("F32", _OPS.load(tensor, start, start + count)).reshape(count, -1)


_NAMES = ("least_levels", "most_at_edge", "most_zeros", "most_empty", "least_kept")
CHECK = Check(
    "cut_values",
    run,
    CheckForm(
        "no matrix was clipped, coarsely rounded, emptied or multiplied away",
        {"least_levels": 16, "most_at_edge": "0.3", "most_zeros": "0.5", "most_empty": "0.5", "least_kept": "0.25"},
        may_not_apply=True,
        fix="push the weights as they were trained: not pruned, clipped or rounded",
    ),
    is_static=True,
)
