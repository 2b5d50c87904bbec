"""Quantiles of the normal and of Student's distribution, without a statistics library."""

import math
from functools import lru_cache
from statistics import NormalDist

TAIL = 0.025
"""The error on one side of what is shown as a 95 % interval."""
_STANDARD = NormalDist()
_HALVINGS = 80
_FRACTIONS = 300
_TINY = 1e-300


def normal_quantile(tail: float) -> float:
    """Return the point that a standard normal exceeds with a probability between 0 and 1."""
    return -_STANDARD.inv_cdf(tail)


def normal_tail(point: float) -> float:
    """Return the probability that a standard normal exceeds a point."""
    return 0.5 * math.erfc(point / math.sqrt(2))


@lru_cache(maxsize=4096)
def t_quantile(tail: float, freedom: int) -> float:
    """Return the point that Student's t exceeds with a probability of at most a half.

    Args:
        tail: The probability.
        freedom: Degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    while t_tail(high, freedom) > tail:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, freedom) > tail else (low, middle)
    return (low + high) / 2


def t_tail(point: float, freedom: int) -> float:
    """Return the probability that Student's t exceeds a non-negative point."""
    return 0.5 * _beta_share(freedom / 2, 0.5, freedom / (freedom + point * point))


def _beta_share(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function (NIST DLMF 8.17.22, by Lentz's method)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(b, a, 1 - x)
    ends = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(ends + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / _off_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _FRACTIONS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / _off_zero(1 + step * d)
            c = _off_zero(1 + step / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
