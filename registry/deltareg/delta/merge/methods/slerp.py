"""Spherical interpolation between two fine-tuned weights (Shoemake 1985), one tensor at a time.

W' = sin((1 - t)θ)/sin θ · W'_a + sin(tθ)/sin θ · W'_b with θ the angle between the whole tensors
W'_a and W'_b, and t = w_b / (w_a + w_b). Nearly parallel tensors are interpolated linearly. This is
between the weights themselves, as mergekit does it, because models lie on the sphere, not changes.
"""

import math

import numpy as np

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.errors import InvalidInput

_PARALLEL = 0.9995  # of the cosine: beyond it sin θ is too small to divide by
_TINY = 1e-8


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    (a, b), (weight_a, weight_b) = rows.changes, rows.weights
    if weight_a + weight_b <= 0:
        raise InvalidInput("slerp needs a weight above zero")
    part_a, part_b = _parts(rows.base + a, rows.base + b, weight_b / (weight_a + weight_b))
    # In terms of changes, so that t = 0 and t = 1 give exactly one parent's.
    return part_a * a + part_b * b + (part_a + part_b - 1) * rows.base


def _parts(a: F64, b: F64, t: float) -> tuple[float, float]:
    cosine = float(np.sum(_unit(a) * _unit(b)))
    if t in {0, 1} or abs(cosine) > _PARALLEL:
        return 1 - t, t
    angle = math.acos(cosine)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def _unit(values: F64) -> F64:
    norm = float(np.linalg.norm(values))
    return values / norm if norm > _TINY else values


SLERP = ValueMethod(
    "slerp", "along the arc between two weights", _merge, needs_whole=True, parents=2, allows_negative=False
)
