"""Measures of a sample with what is not known about them: an interval and the sample's size.

A number from forty texts is no fact about all texts. Every measure of a probe set is therefore an
estimate, and what it is held against is held against its interval. How the intervals are made, and
how well they cover, is said in `deltareg.statistics`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg.statistics.intervals import F64, Interval, mean_interval, share_interval
from deltareg.statistics.quantiles import TAIL, normal_tail, t_quantile

CONFIDENCE = 1 - 2 * TAIL
_DEAR_DRAWS = 500  # each of them is a whole statistic


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure.

    Attributes:
        value: On the sample.
        low: Lower end of its interval, a 95 % one where nothing else is said.
        high: Upper end.
        n: Independent samples that it rests on.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """Write it as people read it: `0.82 [0.71, 0.90], n = 60`."""
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}], n = {self.n}"


def within(value: float, interval: Interval, n: int) -> Estimate:
    """Give a value with the interval around it."""
    return Estimate(value, interval.low, interval.high, n)


def of_share(hits: float, n: int) -> Estimate:
    """Estimate a share by the score interval; it holds for few samples, too.

    Args:
        hits: How often it was so; a half where a sample was so in part.
        n: Of how many; more than zero.
    """
    return within(hits / n, share_interval(hits, n), n)


def of_ratio(parts: F64, sizes: F64, *, seed: int = 0) -> Estimate:  # noqa: ARG001  # none drawn
    """Estimate sum(parts) / sum(sizes), such as loss per token, over whole samples.

    Tokens of one text are not independent of each other, texts are.

    Args:
        parts: (n,): What each sample adds.
        sizes: (n,): How much of it there is in each sample.
        seed: Of nothing any more; those who call it have one.
    """
    return within(float(parts.sum() / sizes.sum()), mean_interval(parts, sizes), len(parts))


def of_difference(ours: F64, theirs: F64, sizes: F64, *, seed: int = 0) -> Estimate:  # noqa: ARG001  # as above
    """Estimate sum(ours - theirs) / sum(sizes) on the same samples.

    What both find hard cancels out, so a small change shows on few samples.

    Args:
        ours: (n,): Of each sample, with this version.
        theirs: (n,): The same samples, with what it is compared with.
        sizes: (n,): How much of it there is in each sample; ones for a mean.
        seed: Of nothing any more.
    """
    return of_ratio(ours - theirs, sizes)


def rows_drawn(n: int, *, seed: int) -> NDArray[np.int64]:
    """Draw samples again for what only a whole sample has, such as BLEU: (draws, n) of numbers."""
    return np.random.default_rng(seed).integers(0, n, (_DEAR_DRAWS, n))


def of_drawn(value: float, drawn: F64, n: int) -> Estimate:
    """Estimate a statistic from its values on `rows_drawn`.

    The percentiles are taken so much further out as Student's interval is wider than the one that a
    normal distribution and the sample's own spread would give (Hesterberg, 2015, Am. Stat. 69:371).
    """
    if n < 2:
        return Estimate(value, -math.inf, math.inf, n)
    outer = 100 * normal_tail(math.sqrt(n / (n - 1)) * t_quantile(TAIL, n - 1))
    low, high = np.percentile(drawn, [outer, 100 - outer])
    return Estimate(value, float(low), float(high), n)


def exponential(estimate: Estimate) -> Estimate:
    """Give exp of an estimate, such as perplexity of loss; what overflows is infinite."""
    value, low, high = (exp(x) for x in (estimate.value, estimate.low, estimate.high))
    return Estimate(value, low, high, estimate.n)


def exp(x: float) -> float:
    """Give exp, infinite where it overflows."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
