"""Steps that merge methods share: sums, trimming, random dropping, electing a sign.

All of it is float64. What chooses by size (`largest`, `drop_outliers`, `drop_by_size`) must see a
whole tensor, and the rest is elementwise.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import Mask, MergeRows, MergeSettings
from deltareg.errors import InvalidInput

_DRAWS = 4  # 64-bit numbers that Philox makes of one value of its counter
_LAST_DRAW = 2.0**64 - 2.0**11  # the largest float64 below 2⁶⁴
_MATRIX = 2


def shares(weights: Sequence[float]) -> list[float]:
    """Return weights divided by their sum.

    Raises:
        InvalidInput: They sum up to zero.
    """
    total = sum(weights)
    if not total:
        raise InvalidInput(
            "the weights sum up to zero, so they cannot be normalised",
            fix="leave --normalize out: weights then count as they are",
        )
    return [weight / total for weight in weights]


def weighted_sum(changes: Sequence[F64], weights: Sequence[float]) -> F64:
    """Return Σ wᵢ·ΔWᵢ, in the order of the parents."""
    total = changes[0] * weights[0]
    for change, weight in zip(changes[1:], weights[1:], strict=True):
        total += change * weight
    return total


def largest(change: F64, density: float) -> Mask:
    """Mark the `density` share of elements that are largest in size; at least one.

    Among elements of equal size at the limit, the first ones by rows are kept, so the choice is the
    same everywhere.
    """
    return mark_largest(np.abs(change), max(1, int(density * change.size)))


def mark_largest(values: F64, count: int) -> Mask:
    """Mark the largest values, a number of them; of equal ones at the limit the first by rows."""
    sizes = values.reshape(-1)
    if count >= sizes.size:
        return np.ones(values.shape, dtype=np.bool_)
    if count <= 0:
        return np.zeros(values.shape, dtype=np.bool_)
    edge = np.partition(sizes, sizes.size - count)[sizes.size - count]
    mask: Mask = sizes > edge
    at_edge = np.flatnonzero(sizes == edge)
    mask[at_edge[: count - int(mask.sum())]] = True
    return np.reshape(mask, values.shape)


def trim_changes(rows: MergeRows, settings: MergeSettings) -> list[F64]:
    """Keep only the largest elements of every change."""
    return [np.where(largest(c, settings.density), c, 0.0) for c in rows.changes]


def drop_outliers(rows: MergeRows, settings: MergeSettings) -> list[F64]:
    """Drop the `gamma` share of elements that are largest, and the smallest until `density` is left.

    Model Breadcrumbs (Davari and Belilovsky 2023, arXiv 2312.06795, section 3). Where the two do not
    go together, density wins; a density of one drops nothing.
    """
    if settings.density == 1:
        return list(rows.changes)
    return [np.where(_mark_middle(change, settings), change, 0.0) for change in rows.changes]


def drop_by_size(rows: MergeRows, settings: MergeSettings) -> list[F64]:
    """Drop elements at random, small ones more often, and scale up the others (MAGPRUNE).

    Deep et al. 2024, arXiv 2406.11617, section 3.1: by its rank in its row, from the smallest to the
    largest, an element's chance to be kept goes from d - ε to d + ε. The paper divides each element
    by its own chance; this is mergekit's scaling, one factor for the whole tensor that gives Σ|ΔW|
    back. The draws are those of `dropped_at_random`.

    Raises:
        InvalidInput: d ± ε does not lie between 0 and 1.
    """
    settings.check_chances()
    if settings.density == 1:
        return list(rows.changes)
    pairs = zip(rows.changes, rows.keys, strict=True)
    return [_keep_sum(c, _draw_numbers(rows, key, settings) < _edges(keep_chances(c, settings))) for c, key in pairs]


def keep_chances(change: F64, settings: MergeSettings) -> F64:
    """Return each element's chance to be kept, d - ε for a row's smallest to d + ε for its largest.

    Elements are ranked along the second axis, those of a vector among each other.
    """
    rows: F64 = np.abs(np.reshape(change, (1, -1)) if change.ndim < _MATRIX else change)
    order = np.argsort(rows, axis=1, kind="stable")
    ranks = np.empty(rows.shape)
    places: F64 = np.arange(rows.shape[1], dtype=np.float64)
    np.put_along_axis(ranks, order, np.reshape(places, (1, -1, *[1] * (rows.ndim - 2))), axis=1)
    place = ranks / (rows.shape[1] - 1) if rows.shape[1] > 1 else np.full(rows.shape, 0.5)
    return np.reshape(settings.density - settings.epsilon + place * (2 * settings.epsilon), change.shape)


def dropped_at_random(rows: MergeRows, settings: MergeSettings) -> list[F64]:
    """Drop elements at random and scale up the others, so that the change is the same on average.

    ΔW becomes m ⊙ ΔW / d with m ~ Bernoulli(d) (DARE, Yu et al. 2023, arXiv 2311.03099, eq. 2).
    Which elements stay is a function of seed, parent, weight and position alone: whether an element
    is kept does not depend on how many rows are computed together.
    """
    if settings.density == 1:
        return list(rows.changes)
    pairs = zip(rows.changes, rows.keys, strict=True)
    edge = _edges(np.float64(settings.density))
    masked = [(change, _draw_numbers(rows, key, settings) < edge) for change, key in pairs]
    return [np.where(mask, change / settings.density, 0.0) for change, mask in masked]


def with_one_sign(weighted: Sequence[F64]) -> list[Mask]:
    """Mark the elements of every change whose sign is that of the sum over all changes.

    The elected sign is that of Σ wᵢ·ΔWᵢ, plus where it is zero (TIES, Yadav et al. 2023, arXiv
    2306.01708, section 3, step 2). Elements that are zero are never marked.
    """
    total = sum(weighted[1:], start=weighted[0])
    is_plus = total >= 0
    return [np.where(is_plus, change > 0, change < 0) for change in weighted]


def disjoint_merge(changes: Sequence[F64], weights: Sequence[float], *, is_mean: bool) -> F64:
    """Sum the elements that have the elected sign, or take their mean.

    The mean is over |wᵢ| of the parents that agree (TIES, step 3, with weights).
    """
    weighted = [change * weight for change, weight in zip(changes, weights, strict=True)]
    masks = with_one_sign(weighted)
    total = sum((np.where(m, w, 0.0) for m, w in zip(masks, weighted, strict=True)), start=0.0)
    if is_mean:
        divisor = sum(m * abs(w) for m, w in zip(masks, weights, strict=True))
        total = total / np.where(divisor == 0, 1.0, divisor)
    return np.asarray(total, dtype=np.float64)


def _mark_middle(change: F64, settings: MergeSettings) -> Mask:
    sizes, kept = np.abs(change), int(settings.density * change.size)
    smallest = max(0, change.size - kept - int(settings.gamma * change.size))
    above = change.size - smallest
    return mark_largest(sizes, above) & ~mark_largest(sizes, above - kept)


def _keep_sum(change: F64, mask: Mask) -> F64:
    masked = np.where(mask, change, 0.0)
    before, after = float(np.sum(np.abs(change))), float(np.sum(np.abs(masked)))
    return masked * (before / after) if after else masked


def _edges(chances: F64 | np.float64) -> NDArray[np.uint64]:
    """Return the numbers below which a draw keeps its element."""
    return np.asarray(np.minimum(chances * 2.0**64, _LAST_DRAW), dtype=np.uint64)


def _draw_numbers(rows: MergeRows, key: str, settings: MergeSettings) -> NDArray[np.uint64]:
    """Draw a number from 0 to 2⁶⁴ - 1 for every element.

    The numbers are the raw output of Philox 4x64-10 (Salmon et al. 2011), a stream that NumPy
    guarantees; its key is taken from seed, parent and weight, its counter from the position.
    """
    key_bytes = f"{settings.seed}\0{key}\0{rows.target}".encode()
    seed = int.from_bytes(hashlib.sha256(key_bytes).digest()[:16], "little")
    generator = np.random.Philox(key=seed)
    generator.advance(rows.first // _DRAWS)
    skipped = rows.first % _DRAWS
    drawn = generator.random_raw(skipped + rows.base.size)[skipped:]
    return drawn.reshape(rows.base.shape)
