"""Model Breadcrumbs: the weighted sum of the changes without their largest and smallest elements.

Davari and Belilovsky 2023, arXiv 2312.06795, section 3: ΔW = λ · Σ wᵢ · mᵢ ⊙ ΔWᵢ, where m leaves out
the `gamma` share that is largest (outliers) and the smallest, until `density` is left.
"""

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import drop_outliers, weighted_sum


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    return weighted_sum(drop_outliers(rows, settings), rows.weights) * settings.scale


BREADCRUMBS = ValueMethod(
    "breadcrumbs",
    "drop the largest and the smallest, sum",
    _merge,
    takes=frozenset({"density", "gamma", "scale"}),
    needs_whole=True,
)
