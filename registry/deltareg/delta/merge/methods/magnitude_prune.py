"""Magnitude pruning: the weighted sum of the largest elements of every change.

ΔW = Σ wᵢ · top_d(ΔWᵢ), without scaling up (Han et al. 2015, arXiv 1506.02626, on task vectors).
"""

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import trim_changes, weighted_sum


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    return weighted_sum(trim_changes(rows, settings), rows.weights)


MAGNITUDE_PRUNE = ValueMethod(
    "magnitude_prune", "keep the largest, sum", _merge, takes=frozenset({"density"}), needs_whole=True
)
