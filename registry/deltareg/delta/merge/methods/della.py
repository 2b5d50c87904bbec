"""DELLA: drop small elements more often than large ones, elect a sign, merge what agrees.

Deep et al. 2024, arXiv 2406.11617, section 3: drop (MAGPRUNE, `deltareg.delta.merge.steps`), elect
as TIES does, fuse. ΔW = λ · the mean of the elements with the elected sign; without `normalize` it
is their weighted sum.
"""

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import disjoint_merge, drop_by_size


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    is_mean = settings.normalize is not False
    return disjoint_merge(drop_by_size(rows, settings), rows.weights, is_mean=is_mean) * settings.scale


DELLA = ValueMethod(
    "della",
    "drop at random, small ones more often, elect a sign, take the mean of what agrees",
    _merge,
    takes=frozenset({"density", "epsilon", "seed", "normalize", "scale"}),
    needs_whole=True,
    normalizes=True,
)
