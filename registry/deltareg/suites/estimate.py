"""Measures of a sample with their uncertainty: an interval and the sample's size.

A number from forty texts is no fact about all texts. So every measure of a probe set is an
estimate, and thresholds are compared with its interval. `deltareg.statistics` describes how the
intervals are made and how well they cover.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg.statistics.intervals import F64, Interval, mean_interval, share_interval
from deltareg.statistics.quantiles import TAIL, normal_tail, t_quantile

_DEAR_DRAWS = 500  # each of them is a whole statistic


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure.

    Attributes:
        value: On the sample.
        low: Lower end of its interval, a 95 % one unless stated otherwise.
        high: Upper end.
        n: Number of independent samples.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """Format it: `0.82 [0.71, 0.90], n = 60`."""
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}], n = {self.n}"


def within(value: float, interval: Interval, n: int) -> Estimate:
    """Build an estimate from a value and the interval around it."""
    return Estimate(value, interval.low, interval.high, n)


def of_share(hits: float, n: int) -> Estimate:
    """Estimate a share by the score interval, which also holds for few samples.

    Args:
        hits: The number of hits; a half for a partial one.
        n: The number of samples; more than zero.
    """
    return within(hits / n, share_interval(hits, n), n)


def of_ratio(parts: F64, sizes: F64, *, seed: int = 0) -> Estimate:  # noqa: ARG001  # none drawn
    """Estimate sum(parts) / sum(sizes), such as loss per token, over whole samples.

    Tokens of one text are not independent of each other, texts are.

    Args:
        parts: (n,): The contribution of each sample.
        sizes: (n,): The size of each sample.
        seed: Unused; kept for callers that pass one.
    """
    return within(float(parts.sum() / sizes.sum()), mean_interval(parts, sizes), len(parts))


def of_difference(ours: F64, theirs: F64, sizes: F64, *, seed: int = 0) -> Estimate:  # noqa: ARG001  # as above
    """Estimate sum(ours - theirs) / sum(sizes) on the same samples.

    Samples that are hard for both cancel out, so a small change shows on few samples.

    Args:
        ours: (n,): The values of the samples with this version.
        theirs: (n,): The values of the same samples with the reference.
        sizes: (n,): The size of each sample; ones for a mean.
        seed: Unused.
    """
    return of_ratio(ours - theirs, sizes)


def rows_drawn(n: int, *, seed: int) -> NDArray[np.int64]:
    """Draw bootstrap samples, (draws, n) row numbers, for whole-sample statistics such as BLEU."""
    return np.random.default_rng(seed).integers(0, n, (_DEAR_DRAWS, n))


def of_drawn(value: float, drawn: F64, n: int) -> Estimate:
    """Estimate a statistic from its values on `rows_drawn`.

    The percentiles are widened by the ratio of Student's interval to the one from a normal
    distribution and the sample's own spread (Hesterberg, 2015, Am. Stat. 69:371).
    """
    if n < 2:
        return Estimate(value, -math.inf, math.inf, n)
    outer = 100 * normal_tail(math.sqrt(n / (n - 1)) * t_quantile(TAIL, n - 1))
    low, high = np.percentile(drawn, [outer, 100 - outer])
    return Estimate(value, float(low), float(high), n)


def exponential(estimate: Estimate) -> Estimate:
    """Return exp of an estimate, such as perplexity of a loss; overflow gives infinity."""
    value, low, high = (exp(x) for x in (estimate.value, estimate.low, estimate.high))
    return Estimate(value, low, high, estimate.n)


def exp(x: float) -> float:
    """Return e to the power of x, or infinity on overflow."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
