"""Measures of a sample with what is not known about them: an interval and the sample's size.

A number from forty texts is no fact about all texts. Every measure of a probe set is therefore an
estimate, and what it is held against is held against its interval.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
CONFIDENCE = 0.95
_Z = 1.959963984540054  # the normal quantile of that confidence, two-sided
_DRAWS = 2_000
_DEAR_DRAWS = 500  # each of them is a whole statistic


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure.

    Attributes:
        value: On the sample.
        low: Lower end of its 95 % interval.
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


def of_share(hits: float, n: int) -> Estimate:
    """Estimate a share by the score interval (Wilson, 1927); it holds for few samples, too.

    Args:
        hits: How often it was so; a half where a sample was so in part.
        n: Of how many; more than zero.
    """
    share, z2 = hits / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half), n)


def of_ratio(parts: F64, sizes: F64, *, seed: int) -> Estimate:
    """Estimate sum(parts) / sum(sizes), such as loss per token, by drawing samples again.

    The percentile bootstrap (Efron, 1979) over whole samples: tokens of one text are not
    independent of each other, texts are.

    Args:
        parts: (n,): What each sample adds.
        sizes: (n,): How much of it there is in each sample.
        seed: Of the draws.
    """
    value = float(parts.sum() / sizes.sum())
    if not np.isfinite(value):  # there is nothing to draw an interval around
        return Estimate(value, value, value, len(parts))
    drawn = _draws(len(parts), seed)
    ratios = parts[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.percentile(ratios, [50 * (1 - CONFIDENCE), 100 - 50 * (1 - CONFIDENCE)])
    return Estimate(value, float(low), float(high), len(parts))


def of_difference(ours: F64, theirs: F64, sizes: F64, *, seed: int) -> Estimate:
    """Estimate sum(ours - theirs) / sum(sizes) on the same samples, drawn together.

    What both find hard cancels out, so a small change shows on few samples.

    Args:
        ours: (n,): Of each sample, with this version.
        theirs: (n,): The same samples, with what it is compared with.
        sizes: (n,): How much of it there is in each sample; ones for a mean.
        seed: Of the draws.
    """
    return of_ratio(ours - theirs, sizes, seed=seed)


def rows_drawn(n: int, *, seed: int) -> NDArray[np.int64]:
    """Draw samples again for what only a whole sample has, such as BLEU: (draws, n) of numbers."""
    return _draws(n, seed)[:_DEAR_DRAWS]


def of_drawn(value: float, drawn: F64, n: int) -> Estimate:
    """Estimate a statistic from its values on `rows_drawn`."""
    low, high = np.percentile(drawn, [50 * (1 - CONFIDENCE), 100 - 50 * (1 - CONFIDENCE)])
    return Estimate(value, float(low), float(high), n)


def exponential(estimate: Estimate) -> Estimate:
    """Give exp of an estimate, such as perplexity of loss; what overflows is infinite."""
    value, low, high = (_exp(x) for x in (estimate.value, estimate.low, estimate.high))
    return Estimate(value, low, high, estimate.n)


def _draws(n: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, n, (_DRAWS, n))


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
