"""The Karcher mean of whole fine-tuned weights on the sphere: what slerp is for two, for any number.

Karcher 1977; as merging: arXiv 2603.04972. Of the directions uᵢ = W'ᵢ / ‖W'ᵢ‖ the mean m is the point
of the sphere where Σ wᵢ·log_m(uᵢ) = 0, found by steps m ← exp_m(Σ wᵢ·log_m(uᵢ)). Its length is
Σ wᵢ·‖W'ᵢ‖. Weights are made to sum up to one.
"""

from collections.abc import Sequence

import numpy as np

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import shares, weighted_sum

_CLOSE = 1e-13  # of a step, in radians: at rest
_STEPS = 100


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    weights = shares(rows.weights)
    if len(weights) == 1:
        return rows.changes[0]
    points = [rows.base + change for change in rows.changes]
    norms = [float(np.linalg.norm(point)) for point in points]
    units = [(w, point / norm) for w, point, norm in zip(weights, points, norms, strict=True) if norm]
    length = sum(weight * norm for weight, norm in zip(weights, norms, strict=True))
    if not units or not length:
        return -rows.base
    return length * _mean_direction([w for w, _ in units], [unit for _, unit in units]) - rows.base


def _mean_direction(weights: Sequence[float], units: Sequence[F64]) -> F64:
    weights = shares(weights)
    mean = weighted_sum(units, weights)
    norm = float(np.linalg.norm(mean))
    mean = mean / norm if norm > _CLOSE else units[0]
    for _ in range(_STEPS):
        step = weighted_sum([_log(mean, unit) for unit in units], weights)
        angle = float(np.linalg.norm(step))
        if angle < _CLOSE:
            break
        mean = np.cos(angle) * mean + (np.sin(angle) / angle) * step
        mean /= float(np.linalg.norm(mean))
    return mean


def _log(mean: F64, unit: F64) -> F64:
    """Return the tangent at the mean that leads to a point, as long as the arc between them."""
    cosine = float(np.sum(mean * unit))
    across = unit - cosine * mean
    sine = float(np.linalg.norm(across))
    return across * (np.arctan2(sine, cosine) / sine) if sine else across


KARCHER = ValueMethod(
    "karcher", "the mean of any number of weights on the sphere", _merge, needs_whole=True, allows_negative=False
)
