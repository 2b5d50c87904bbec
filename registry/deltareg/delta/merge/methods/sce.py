"""SCE: select where versions differ most, calculate their weights, erase what goes against the rest.

Wan et al. 2024 (FuseChat), arXiv 2408.07990, section 3.3, for every tensor:

1. Only the `density` share of elements whose variance over the versions is largest stays.
2. A version's weight is its share of Σ‖ΔWᵢ‖² of what was selected.
3. An element's sign is that of Σ ΔWᵢ, and ΔW is the weighted mean of the elements that have it.
"""

import numpy as np

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import mark_largest, weighted_sum, with_one_sign


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    changes = _select(rows, settings.density)
    energies = [float(np.sum(change * change)) for change in changes]
    total = sum(energies)
    if not total:
        return np.zeros(rows.base.shape)
    weights = [energy / total for energy in energies]
    masks = with_one_sign(changes)
    agreed = weighted_sum([np.where(m, c, 0.0) for m, c in zip(masks, changes, strict=True)], weights)
    divisor = weighted_sum([mask.astype(np.float64) for mask in masks], weights)
    return agreed / np.where(divisor == 0, 1.0, divisor)


def _select(rows: MergeRows, density: float) -> list[F64]:
    if density == 1:
        return list(rows.changes)
    variance = np.var(np.stack(rows.changes), axis=0)
    mask = mark_largest(variance, int(density * np.count_nonzero(variance)))
    return [np.where(mask, change, 0.0) for change in rows.changes]


SCE = ValueMethod(
    "sce",
    "select where versions differ, weigh them by it, erase what disagrees",
    _merge,
    takes=frozenset({"density"}),
    needs_whole=True,
    fewest=2,
    is_weighted=False,
)
