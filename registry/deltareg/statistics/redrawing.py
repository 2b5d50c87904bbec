"""What a comparison decides about losses of any size, by drawing again from the samples at hand.

How often a loss is stopped depends on all of the differences of single samples, not on their spread
alone: one long text in a hundred moves a mean more than all others. So a number of runs is drawn from
pairs of two healthy versions, a loss is put into each, and each is decided as the gate decides
(Efron and Tibshirani, 1993, "An Introduction to the Bootstrap", chapter 25).

A loss is *even* where each sample has its share of it, and *lumpy* where a tenth of the samples has all.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from deltareg.statistics.intervals import F64, Interval, mean_intervals, paired_interval
from deltareg.statistics.quantiles import normal_quantile

RUNS = 1_500
LUMPS = 0.1
"""The share of samples that a lumpy loss is on."""
_HALVINGS = 9
_ASSUMED = 400


@dataclass(frozen=True, slots=True)
class PairedSamples:
    """The same samples by two versions of which neither is worse.

    Attributes:
        before: (n,): What each adds to the measure of the one, such as nats or right answers.
        after: (n,): The same of the other.
        sizes: (n,): How much each counts, such as tokens.
        is_share: Whether each is right (1) or wrong (0), or a half in between.
        is_upward: Whether more is better.
    """

    before: F64
    after: F64
    sizes: F64
    is_share: bool = False
    is_upward: bool = True

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.before)

    @property
    def spread(self) -> float:
        """The standard deviation of the differences of single samples, each as large as the mean one."""
        steps = self.after - self.before
        residuals: F64 = steps - self.sizes * (steps.sum() / self.sizes.sum())
        return float(np.sqrt(np.mean(residuals**2)) / self.sizes.mean())


def assume_samples(spread: float, *, is_share: bool = False) -> PairedSamples:
    """Return samples as they are where nothing is known but the spread of their differences.

    Args:
        spread: The standard deviation of the differences of single samples.
        is_share: Whether each is right or wrong; otherwise the differences are normal.
    """
    before = np.zeros(_ASSUMED)
    if is_share:
        changed = min(_ASSUMED, round(_ASSUMED * spread * spread))
        before[: _ASSUMED * 3 // 4] = 1.0  # how many are right hardly matters: how many change does
        after = before.copy()
        after[: changed // 2], after[_ASSUMED - (changed - changed // 2) :] = 0.0, 1.0
        return PairedSamples(before, after, np.ones(_ASSUMED), is_share=True)
    points = (np.arange(_ASSUMED) + 0.5) / _ASSUMED
    after = np.array([normal_quantile(1 - point) for point in points])
    return PairedSamples(before, after * spread / after.std(), np.ones(_ASSUMED))


@dataclass(frozen=True)
class RedrawnRuns:
    """Runs of a comparison on n samples, drawn from those at hand; each draw is the same every time.

    Attributes:
        samples: The samples at hand.
        n: How many samples a run has.
    """

    samples: PairedSamples
    n: int

    def shown_margin(self, power: float) -> float:
        """Return the smallest margin that a version without a loss is shown to keep as often as `power`."""
        low, _ = self._plain
        return float(np.quantile(-low, power, method="higher"))

    def chance_to_pass(self, margin: float, *, loss: float = 0.0, lumps: float = 0.0) -> float:
        """Return how often a version is shown to keep a margin.

        Args:
            margin: The allowed loss, on the scale of comparisons.
            loss: What it really lost.
            lumps: The share of samples that the loss is on; 0 for all alike.
        """
        low, _ = self._ends(loss, lumps)
        return float(np.mean(low >= -margin))

    def chance_to_fail(self, margin: float, *, loss: float, lumps: float = 0.0) -> float:
        """Return how often a version is shown to have lost more than a margin; see `chance_to_pass`."""
        _, high = self._ends(loss, lumps)
        return float(np.mean(high < -margin))

    def stopped_loss(self, margin: float, *, power: float, lumps: float = 0.0) -> float:
        """Return the smallest loss with which a version is not shown to keep a margin as often as `power`."""
        if self._moves_evenly(lumps):
            return max(0.0, margin + float(np.quantile(self._plain[0], power, method="higher")))
        return self._smallest(lambda loss: self.chance_to_pass(margin, loss=loss, lumps=lumps) <= 1 - power, margin)

    def failed_loss(self, margin: float, *, power: float, lumps: float = 0.0) -> float:
        """Return the smallest loss with which a version fails as often as `power`."""
        if self._moves_evenly(lumps):
            return max(0.0, margin + float(np.quantile(self._plain[1], power, method="higher")))
        return self._smallest(lambda loss: self.chance_to_fail(margin, loss=loss, lumps=lumps) >= power, margin)

    def _moves_evenly(self, lumps: float) -> bool:
        """Whether a loss moves an interval and nothing else."""
        return lumps <= 0 and not self.samples.is_share

    def _smallest(self, is_enough: Callable[[float], bool], margin: float) -> float:
        if is_enough(0.0):
            return 0.0
        most = self._most_loss
        high = min(most, max(margin, 1e-9))
        while not is_enough(high):
            if high >= most:
                return math.inf
            high = min(most, 2 * high)
        low = 0.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if is_enough(middle) else (middle, high)
        return high

    @property
    def _most_loss(self) -> float:
        """The largest loss there is: all right answers, or a hundred spreads."""
        if self.samples.is_share:
            return float(np.mean(self.samples.before + self.samples.after) / 2)
        steps = self._centred
        return 100 * (float(np.abs(steps).max()) / float(self.samples.sizes.mean()) + 1e-9) + 10

    @cached_property
    def _plain(self) -> tuple[F64, F64]:
        """The ends for a version that lost nothing."""
        return self._find_ends(0.0, 0.0)

    def _ends(self, loss: float, lumps: float) -> tuple[F64, F64]:
        return self._find_ends(loss, lumps) if loss else self._plain

    def _find_ends(self, loss: float, lumps: float) -> tuple[F64, F64]:
        """Return for each run the ends of the interval of the gain of a version that lost so much."""
        if self.samples.is_share:
            intervals = [_find_interval(gained, lost, self.n) for gained, lost in self._flips(loss)]
            return np.array([one.low for one in intervals]), np.array([one.high for one in intervals])
        gains, sizes = self._drawn
        parts = gains - loss * (sizes if lumps <= 0 else sizes * (self._chances < lumps) / lumps)
        return mean_intervals(parts, sizes)

    def _flips(self, loss: float) -> list[tuple[float, float]]:
        """Return for each run how many samples a version that lost so much gained and lost."""
        before, after = self.samples.before[self._rows], self.samples.after[self._rows]
        # Neither is worse, so which of the two comes first is by chance.
        first, second = np.where(self._coins, after, before), np.where(self._coins, before, after)
        right = float(np.mean(self.samples.before + self.samples.after) / 2)
        steps = np.where(self._chances < loss / max(right, 1e-12), 0.0, second) - first
        gained, lost = np.clip(steps, 0, None).sum(axis=1), np.clip(-steps, 0, None).sum(axis=1)
        return list(zip(gained.tolist(), lost.tolist(), strict=True))

    @cached_property
    def _centred(self) -> F64:
        """The gain of each sample, so that all of them together gained nothing."""
        own = self.samples
        steps = (own.after - own.before) * (1.0 if own.is_upward else -1.0)
        centred: F64 = steps - own.sizes * (steps.sum() / own.sizes.sum())
        return centred

    @cached_property
    def _drawn(self) -> tuple[F64, F64]:
        return self._centred[self._rows], self.samples.sizes[self._rows]

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        generator = np.random.default_rng(0)
        return generator.integers(0, len(self.samples), (RUNS, self.n))

    @cached_property
    def _chances(self) -> F64:
        return np.random.default_rng(1).random((RUNS, self.n))

    @cached_property
    def _coins(self) -> NDArray[np.bool_]:
        return np.random.default_rng(2).random((RUNS, self.n)) < 0.5


@lru_cache(maxsize=20_000)
def _find_interval(gained: float, lost: float, n: int) -> Interval:
    return paired_interval(gained, lost, n)
