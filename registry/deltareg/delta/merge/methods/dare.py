"""DARE: drop elements of every change at random, scale up the rest, then take the weighted sum.

Yu et al. 2023, arXiv 2311.03099: ΔW = Σ wᵢ · mᵢ ⊙ ΔWᵢ / d with mᵢ ~ Bernoulli(d); the paper's drop
rate p is 1 - d. The draws follow from the seed (`deltareg.delta.merge.steps`).
"""

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import dropped_at_random, weighted_sum


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    return weighted_sum(dropped_at_random(rows, settings), rows.weights)


DARE = ValueMethod("dare", "drop at random, scale up, sum", _merge, takes=frozenset({"density", "seed"}))
