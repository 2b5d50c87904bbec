"""The weighted sum: ΔW = Σ wᵢ·ΔWᵢ, or the weighted mean with `normalize`.

The mean over whole fine-tunes is a model soup (Wortsman et al. 2022, arXiv 2203.05482). On changes
it is the same thing, because the weights of W then sum up to one. Negative weights subtract.
"""

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import shares, weighted_sum


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    weights = shares(rows.weights) if settings.normalize else rows.weights
    return weighted_sum(rows.changes, weights)


LINEAR = ValueMethod("linear", "the weighted sum of the changes", _merge, takes=frozenset({"normalize"}))
