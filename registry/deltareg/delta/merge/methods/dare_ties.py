"""DARE's random dropping instead of TIES' trimming, then one sign and the elements that have it.

Yu et al. 2023, arXiv 2311.03099, section 4.3, over Yadav et al. 2023, arXiv 2306.01708. The
elements that agree are summed up, or averaged with `normalize`.
"""

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import disjoint_merge, dropped_at_random


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    changes = dropped_at_random(rows, settings)
    return disjoint_merge(changes, rows.weights, is_mean=bool(settings.normalize))


DARE_TIES = ValueMethod(
    "dare_ties",
    "drop at random, elect a sign, sum what agrees",
    _merge,
    takes=frozenset({"density", "seed", "normalize"}),
)
