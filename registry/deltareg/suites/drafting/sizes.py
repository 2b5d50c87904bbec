"""How many samples a margin takes, what margin healthy versions need, and which losses it misses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.statistics.power import samples_needed
from deltareg.statistics.quantiles import TAIL, normal_quantile, t_quantile
from deltareg.statistics.redrawing import LUMPS, PairedSamples, RedrawnRuns, assume_samples
from deltareg.suites.drafting.measures import DraftMeasure

LEAST, USUAL_LEAST = 20, 200
"""Fewer samples are no ground for a threshold; and how many are taken where fewer would do.

With no more than show that a healthy version lost nothing, a loss of 1.7 times the margin is
undecided in half of the cases; and samples that are at hand cost a forward each.
"""
_ROOM = 1.5
_GROWTH, _NEARLY = 1.05, 0.01


@dataclass(frozen=True, slots=True)
class VersionSpread:
    """How much healthy versions differ, on the scale of comparisons.

    Attributes:
        single: Standard deviation of the differences of single samples, between two versions.
        single_base: The same between a version and the base.
        gains: How much better than the base each version is.
        drifts: How much better each version is than the one before it.
        samples: The samples of two versions, which say more than their spread; None if unknown.
    """

    single: float
    single_base: float = 0.0
    gains: tuple[float, ...] = ()
    drifts: tuple[float, ...] = ()
    samples: PairedSamples | None = None

    def at_hand(self, measure: DraftMeasure) -> PairedSamples:
        """Return the samples to draw from: those of two versions, or made-up ones of the same spread."""
        if self.samples is not None:
            return self.samples
        return assume_samples(self.single, is_share=measure.is_share)


@dataclass(frozen=True, slots=True)
class StoppedLosses:
    """The losses that a comparison stops as often as asked for, as people write them; infinite for none.

    Attributes:
        held: A version that lost so much does not pass: it is shown to be worse, or nothing is shown.
        failed: A version that lost so much fails.
        failed_in_lumps: Such a one where a tenth of the samples has all of the loss.
    """

    held: float
    failed: float
    failed_in_lumps: float


@dataclass(frozen=True, slots=True)
class SizedComparison:
    """A comparison with its number of samples.

    Attributes:
        margin: The margin, as people write it.
        n: How many samples.
        power: How often a version that lost nothing is shown to have lost no more than the margin.
        losses: What is stopped as often as asked for.
        learned: The source of the margin, for people.
    """

    margin: float
    n: int
    power: float
    losses: StoppedLosses
    learned: str


def size(
    measure: DraftMeasure, spread: VersionSpread, *, available: int, power: float, margin: float | None = None
) -> SizedComparison:
    """Choose margin and number of samples for a comparison with the promoted version.

    Without a requested margin the usual one is taken, or a larger one if healthy versions of the
    line have lost more than that without being worse for it.

    Args:
        measure: The measure to compare.
        spread: How much healthy versions differ.
        available: How many samples there are.
        power: How often a true result should be shown.
        margin: The margin, as people write it; None to choose it.
    """
    samples = spread.at_hand(measure)
    chosen_margin, learned = _margin(measure, spread) if margin is None else (margin, "as asked for")
    needed = find_needed(samples, measure.to_scale(chosen_margin), power=power, most=available)
    n = min(max(needed, USUAL_LEAST, samples_for_gain(spread, power=power)), available)
    runs = RedrawnRuns(samples, n)
    if needed > available and margin is None:
        # A margin that these samples cannot show would stop healthy versions as well.
        chosen_margin = _round_up(measure.from_scale(runs.shown_margin(power)))
        learned = f"the smallest that {n} samples show"
    room = measure.to_scale(chosen_margin)
    losses = find_stopped_losses(measure, runs, room, power=power)
    return SizedComparison(chosen_margin, n, runs.chance_to_pass(room), losses, learned)


def find_needed(samples: PairedSamples, room: float, *, power: float, most: int) -> int:
    """Return how many samples show that a version without a loss keeps a margin; more than `most` if too many.

    Args:
        samples: The samples at hand.
        room: The margin, on the scale of comparisons.
        power: How often it should be shown.
        most: The most samples that may be taken.
    """
    n = max(LEAST, samples_needed(samples.spread, room, power=power))
    while n <= most and RedrawnRuns(samples, n).chance_to_pass(room) < power - _NEARLY:
        n = math.ceil(n * _GROWTH)
    return n


def find_stopped_losses(measure: DraftMeasure, runs: RedrawnRuns, room: float, *, power: float) -> StoppedLosses:
    """Find the losses that a comparison stops, even ones and lumpy ones.

    Args:
        measure: The measure to compare.
        runs: Its runs.
        room: The margin, on the scale of comparisons.
        power: How often a loss is to be stopped.
    """
    lumps = 0.0 if measure.is_share else LUMPS  # a right answer is lost whole
    return StoppedLosses(
        held=measure.from_scale(runs.stopped_loss(room, power=power)),
        failed=measure.from_scale(runs.failed_loss(room, power=power)),
        failed_in_lumps=measure.from_scale(runs.failed_loss(room, power=power, lumps=lumps)),
    )


def gain_asked(spread: VersionSpread, n: int, *, power: float, tail: float = TAIL) -> float:
    """Return the gain over the base that a version must have, on the scale of comparisons.

    It is half of the least gain of the healthy versions, or less if so few samples would not show
    that with the given power; then it may be negative.
    """
    if not spread.gains:
        return 0.0
    least = min(spread.gains)
    return min(least / 2, least - _find_shown_margin(spread.single_base, n, power=power, tail=tail))


def samples_for_gain(spread: VersionSpread, *, power: float, tail: float = TAIL) -> int:
    """Return how many samples show half of the least gain of the healthy versions."""
    least = min(spread.gains, default=0.0)
    if least <= 0:
        return 0
    return samples_needed(spread.single_base, least / 2, power=power, tail=tail)


def loss_allowed(measure: DraftMeasure, spread: VersionSpread, *, usual: float) -> tuple[float, str]:
    """Return the loss allowed on other data against the base, as people write it, and the reason."""
    worst = max((-gain for gain in spread.gains), default=0.0)
    learned = measure.from_scale(worst * _ROOM)
    if learned > usual:
        return _round_up(learned), f"healthy versions lost up to {measure.say(measure.from_scale(worst))}"
    return usual, "what is usual"


def _margin(measure: DraftMeasure, spread: VersionSpread) -> tuple[float, str]:
    worst = max((-drift for drift in spread.drifts), default=0.0)
    learned = _round_up(measure.from_scale(worst * _ROOM))
    if learned > measure.margin:
        loss = measure.say(measure.from_scale(worst))
        return learned, f"half as much again as a healthy version once lost, {loss}"
    if spread.drifts:
        return measure.margin, "what is usual; healthy versions of the line lost less"
    return measure.margin, "what is usual; the line has no two versions to learn from"


def _find_shown_margin(single: float, n: int, *, power: float, tail: float) -> float:
    """Return the smallest margin that a version without a loss is shown to keep, with this power."""
    if n < 2:
        return math.inf
    reach = t_quantile(tail, n - 1) + normal_quantile(1 - power)
    return reach * max(single, 1e-12) / math.sqrt(n)


def _round_up(value: float) -> float:
    """Round up to two digits, as a person would write it."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / step - 1e-9) * step, 10)


def pool_spreads(values: Sequence[float], usual: float) -> float:
    """Return the median of the spreads; the usual spread if there are none."""
    finite = sorted(value for value in values if math.isfinite(value) and value > 0)
    return finite[len(finite) // 2] if finite else usual
