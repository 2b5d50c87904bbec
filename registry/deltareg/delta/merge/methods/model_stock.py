"""Model Stock: a step from W towards the mean, whose length follows from the angle between the changes.

Jang et al. 2024, arXiv 2403.19522, eq. 5: ΔW = t · mean ΔWᵢ with t = N·cos θ / (1 + (N - 1)·cos θ),
cos θ the mean cosine over all pairs of the N changes of the tensor. Where the denominator is zero,
opposing changes cancel out and W stays. All versions count alike.
"""

from itertools import combinations

import numpy as np

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod

_TINY = 1e-6  # of the denominator


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    count = len(rows.changes)
    cosine = float(np.mean([_cosine(a, b) for a, b in combinations(rows.changes, 2)]))
    denominator = 1 + (count - 1) * cosine
    step = count * cosine / denominator if abs(denominator) >= _TINY else 0.0
    total = sum(rows.changes[1:], start=rows.changes[0])
    return total * (step / count)


def _cosine(a: F64, b: F64) -> float:
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return min(1.0, max(-1.0, float(np.sum(a * b)) / norms)) if norms else 0.0


MODEL_STOCK = ValueMethod(
    "model_stock",
    "towards the mean, as far as the changes agree",
    _merge,
    needs_whole=True,
    fewest=2,
    is_weighted=False,
)
