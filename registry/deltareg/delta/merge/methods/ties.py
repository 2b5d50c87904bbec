"""TIES: trim, elect a sign, merge what agrees (Yadav et al. 2023, arXiv 2306.01708, section 3).

1. Of every ΔWᵢ only the `density` share of elements that are largest in size stays.
2. An element's sign is that of Σ wᵢ·ΔWᵢ.
3. ΔW = λ · the mean of the elements that have this sign, weighted by |wᵢ|; without `normalize` it
   is their weighted sum.
"""

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import disjoint_merge, trim_changes


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    is_mean = settings.normalize is not False
    return disjoint_merge(trim_changes(rows, settings), rows.weights, is_mean=is_mean) * settings.scale


TIES = ValueMethod(
    "ties",
    "trim, elect a sign, take the mean of what agrees",
    _merge,
    takes=frozenset({"density", "normalize", "scale"}),
    needs_whole=True,
    normalizes=True,
)
