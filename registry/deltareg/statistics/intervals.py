"""Intervals of a share, of a mean or ratio, and of a difference of shares on the same samples.

Each takes its tail, so one sample gives the interval of any confidence.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg.statistics.quantiles import TAIL, normal_quantile, t_quantile

F64 = NDArray[np.float64]
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval of a measure; `contains` includes its ends."""

    low: float
    high: float

    def contains(self, value: float) -> bool:
        """Whether a value lies in the interval."""
        return self.low <= value <= self.high


NOWHERE = Interval(math.nan, math.nan)
ANYWHERE = Interval(-math.inf, math.inf)


def share_interval(hits: float, n: int, *, tail: float = TAIL) -> Interval:
    """Return the score interval of a share (Wilson, 1927, J. Am. Stat. Assoc. 22:209).

    Args:
        hits: The number of hits; a half for a partial one.
        n: The number of samples; more than zero.
        tail: The error on each side.
    """
    share, z = hits / n, normal_quantile(tail)
    z2 = z * z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(max(0.0, share * (1 - share)) / n + z2 / (4 * n * n))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def paired_interval(gained: float, lost: float, n: int, *, tail: float = TAIL) -> Interval:
    """Return Tango's score interval of the difference of two shares on the same samples.

    (Tango, 1998, Stat. Med. 17:891.) It also holds if hardly a sample changed, or none did.

    Args:
        gained: How many samples are right that were wrong; a half for one that is partly right.
        lost: How many are wrong that were right.
        n: The number of samples; more than zero.
        tail: The error on each side.
    """
    z, difference = normal_quantile(tail), (gained - lost) / n
    low = _crossing(lambda at: _score(gained, lost, n, at) > z, -1.0, difference)
    high = _crossing(lambda at: _score(gained, lost, n, at) >= -z, difference, 1.0)
    return Interval(low, high)


def mean_interval(parts: F64, sizes: F64 | None = None, *, tail: float = TAIL) -> Interval:
    """Return the interval of a mean, or of the ratio sum(parts) / sum(sizes), for any distribution.

    It is the union of Student's interval and the one for skewed distributions (Hall, 1992, J. R.
    Stat. Soc. B 54:221, with Student's quantiles): the first is right for heavy tails, the second
    if one tail is longer. A ratio is treated as the mean of its residuals (Cochran, 1977, 6.3).

    Args:
        parts: (n,): The contribution of each sample.
        sizes: (n,): The size of each sample; ones by default.
        tail: The error on each side.

    Returns:
        The interval; its ends are NaN if a part is NaN, and infinite for fewer than two samples.
    """
    n = len(parts)
    weights = np.ones(n) if sizes is None else sizes
    low, high = mean_intervals(parts[None], weights[None], tail=tail)
    return Interval(float(low[0]), float(high[0]))


def mean_intervals(parts: F64, sizes: F64, *, tail: float = TAIL) -> tuple[F64, F64]:
    """Return the lower and the upper ends of many intervals, each as `mean_interval` gives it.

    Args:
        parts: (runs, n): The contribution of each sample.
        sizes: (runs, n): The size of each sample.
        tail: The error on each side.
    """
    n = parts.shape[1]
    means = sizes.mean(axis=1, keepdims=True)
    ratios = parts.sum(axis=1, keepdims=True) / sizes.sum(axis=1, keepdims=True)
    if n < 2:
        ends = np.where(np.isfinite(ratios[:, 0]), math.inf, math.nan)
        return -ends, ends
    with np.errstate(invalid="ignore", over="ignore"):
        residuals = (parts - ratios * sizes) / means
        squares = (residuals**2).mean(axis=1)
        errors = np.sqrt(squares / (n - 1))
        # What is left of equal parts is rounding, and its shape means nothing.
        is_even: NDArray[np.bool_] = errors <= 1e-14 * np.maximum(1e-300, np.abs(parts).max(axis=1) / means[:, 0])
        skewness = (residuals**3).mean(axis=1) / np.where(is_even, 1.0, squares**1.5)
    t = t_quantile(tail, n - 1)
    above, below = (_remove_skew(end, skewness, n) for end in (t, -t))
    middle: F64 = ratios[:, 0]
    reach_below: F64 = np.where(is_even, 0.0, errors * np.maximum(t, above))
    reach_above: F64 = np.where(is_even, 0.0, errors * np.maximum(t, -below))
    is_number = np.isfinite(middle)
    low: F64 = np.where(is_number, middle - reach_below, math.nan)
    high: F64 = np.where(is_number, middle + reach_above, math.nan)
    return low, high


def _remove_skew(point: float, skewness: F64, n: int) -> F64:
    """Apply the inverse of Hall's cubic transformation to a quantile."""
    root = math.sqrt(n)
    slope, moved = skewness / (3 * root), point - skewness / (6 * root)
    is_flat = np.abs(slope) < 1e-9
    steep = np.where(is_flat, 1.0, slope)
    return np.where(is_flat, moved, (np.cbrt(1 + 3 * steep * moved) - 1) / steep)


def _score(gained: float, lost: float, n: int, at: float) -> float:
    """Return the score statistic for a hypothetical true difference."""
    a = 2 * n
    b = -gained - lost + (2 * n - gained + lost) * at
    c = -lost * at * (1 - at)
    lost_share = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * lost_share + at * (1 - at))
    return (gained - lost - n * at) / math.sqrt(max(variance, 1e-300))


def _crossing(is_before: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_before(middle) else (low, middle)
    return (low + high) / 2
