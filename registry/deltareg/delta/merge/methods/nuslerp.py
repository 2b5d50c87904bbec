"""Spherical interpolation between two changes, one whole tensor at a time (mergekit's NuSLERP).

ΔW = sin((1 - t)θ)/sin θ · ΔW_a + sin(tθ)/sin θ · ΔW_b with θ the angle between ΔW_a and ΔW_b, and
t = w_b / (w_a + w_b) (Shoemake 1985, on task vectors). `slerp` is the same between weights. Parallel
changes are interpolated linearly; a change of zero has no direction and counts as a right angle.
"""

import math

import numpy as np

from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.steps import shares

_PARALLEL = 1e-12  # of sin² θ


def _merge(rows: MergeRows, settings: MergeSettings) -> F64:
    (a, b), (before, after) = rows.changes, shares(rows.weights)
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    cosine = min(1.0, max(-1.0, float(np.sum(a * b)) / norms)) if norms else 0.0
    if 1 - cosine * cosine <= _PARALLEL:
        return before * a + after * b
    angle = math.acos(cosine)
    return math.sin(before * angle) / math.sin(angle) * a + math.sin(after * angle) / math.sin(angle) * b


NUSLERP = ValueMethod("nuslerp", "along the arc between two changes", _merge, needs_whole=True, parents=2)
