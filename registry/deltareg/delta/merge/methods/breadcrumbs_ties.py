"""Model Breadcrumbs' choice of elements, then one sign and the elements that have it.

Davari and Belilovsky 2023, arXiv 2312.06795, section 3, over Yadav et al. 2023, arXiv 2306.01708.
The elements that agree are summed up, or averaged with `normalize`.
"""

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import disjoint_merge, drop_outliers


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    changes = drop_outliers(rows, settings)
    return disjoint_merge(changes, rows.weights, is_mean=bool(settings.normalize)) * settings.scale


BREADCRUMBS_TIES = ValueMethod(
    "breadcrumbs_ties",
    "drop the largest and the smallest, elect a sign, sum what agrees",
    _merge,
    takes=frozenset({"density", "gamma", "normalize", "scale"}),
    needs_whole=True,
)
