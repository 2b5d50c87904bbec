"""Measures over outputs."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


def largest_difference(a: Mapping[str, F32], b: Mapping[str, F32]) -> float:
    """Return max |a - b| over all outputs; NaN where one is NaN, infinity where an output is missing.

    Outputs of different sizes, such as logits over added vocabulary rows, are compared where they
    overlap.
    """
    if set(a) != set(b) or not a:
        return float("inf")
    # np.max keeps a NaN, the built-in max may lose it.
    return float(np.max([_difference(a[name], b[name]) for name in a]))


def spread_moved(a: Mapping[str, F32], b: Mapping[str, F32]) -> float:
    """Return RMS(b - a) / deviation(a), the largest over the outputs.

    Infinity where outputs cannot be compared, or one did not vary before.
    """
    return max((_measure_distance(a[name], b[name]) for name in a if name in b), default=float("inf"))


def root_mean_square(outputs: Mapping[str, F32]) -> float:
    """Return the root of the mean of squares over all values of all outputs."""
    total = sum(float(np.sum(np.square(v, dtype=np.float64))) for v in outputs.values())
    return float(np.sqrt(total / max(1, sum(v.size for v in outputs.values()))))


def find_overlap(a: F32, b: F32) -> tuple[slice, ...]:
    """Return the part that two arrays of the same number of dimensions share."""
    return tuple(slice(min(one, other)) for one, other in zip(a.shape, b.shape, strict=True))


def all_finite(values: F32) -> bool:
    """Return whether no value is NaN or infinite."""
    return bool(np.all(np.isfinite(values)))


def _measure_distance(a: F32, b: F32) -> float:
    if a.ndim != b.ndim:
        return float("inf")
    both = find_overlap(a, b)
    before, after = (values[both].astype(np.float64) for values in (a, b))
    spread = float(np.std(before))
    return float(np.sqrt(np.mean((after - before) ** 2))) / spread if spread > 0 else float("inf")


def _difference(a: F32, b: F32) -> float:
    if a.ndim != b.ndim:
        return float("inf")
    both = find_overlap(a, b)
    return float(np.max(np.abs(a[both] - b[both])))
