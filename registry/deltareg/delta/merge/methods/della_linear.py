"""DELLA's dropping, small elements more often than large ones, then the weighted sum.

Deep et al. 2024, arXiv 2406.11617, section 3.1 (MAGPRUNE, `deltareg.delta.merge.steps`):
ΔW = λ · Σ wᵢ · mᵢ ⊙ ΔWᵢ · sᵢ, without an election of signs.
"""

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import drop_by_size, weighted_sum


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    return weighted_sum(drop_by_size(rows, settings), rows.weights) * settings.scale


DELLA_LINEAR = ValueMethod(
    "della_linear",
    "drop at random, small ones more often, scale up, sum",
    _merge,
    takes=frozenset({"density", "epsilon", "seed", "scale"}),
    needs_whole=True,
)
