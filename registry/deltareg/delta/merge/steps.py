"""Steps that merge methods share: sums, trimming, random dropping, electing a sign.

All of it is float64 and elementwise, except for `largest`, which must see a whole tensor.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import Mask, MergeRows, MergeSettings
from deltareg.errors import InvalidInput

_DRAWS = 4  # 64-bit numbers that Philox makes of one value of its counter


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
    sizes = np.abs(change).reshape(-1)
    count = max(1, int(density * sizes.size))
    if count >= sizes.size:
        return np.ones(change.shape, dtype=np.bool_)
    edge = np.partition(sizes, sizes.size - count)[sizes.size - count]
    mask: Mask = sizes > edge
    at_edge = np.flatnonzero(sizes == edge)
    mask[at_edge[: count - int(mask.sum())]] = True
    return np.reshape(mask, change.shape)


def trim_changes(rows: MergeRows, settings: MergeSettings) -> list[F64]:
    """Keep only the largest elements of every change."""
    return [np.where(largest(c, settings.density), c, 0.0) for c in rows.changes]


def dropped_at_random(rows: MergeRows, settings: MergeSettings) -> list[F64]:
    """Drop elements at random and scale up the others, so that the change is the same on average.

    ΔW becomes m ⊙ ΔW / d with m ~ Bernoulli(d) (DARE, Yu et al. 2023, arXiv 2311.03099, eq. 2).
    Which elements stay is a function of seed, parent, weight and position alone: whether an element
    is kept does not depend on how many rows are computed together.
    """
    if settings.density == 1:
        return list(rows.changes)
    pairs = zip(rows.changes, rows.keys, strict=True)
    masked = [(change, _draw_mask(rows, key, settings)) for change, key in pairs]
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


def _draw_mask(rows: MergeRows, key: str, settings: MergeSettings) -> Mask:
    """Draw a number for every element and mark those below the density.

    The numbers are the raw output of Philox 4x64-10 (Salmon et al. 2011), a stream that NumPy
    guarantees; its key is taken from seed, parent and weight, its counter from the position.
    """
    key_bytes = f"{settings.seed}\0{key}\0{rows.target}".encode()
    seed = int.from_bytes(hashlib.sha256(key_bytes).digest()[:16], "little")
    generator = np.random.Philox(key=seed)
    generator.advance(rows.first // _DRAWS)
    skipped = rows.first % _DRAWS
    drawn = generator.random_raw(skipped + rows.base.size)[skipped:]
    edge = np.uint64(min(int(settings.density * 2.0**64), 2**64 - 1))
    return (drawn < edge).reshape(rows.base.shape)
