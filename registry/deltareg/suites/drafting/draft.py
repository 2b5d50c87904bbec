"""A draft: the content of a future suite, with the facts about each of its comparisons."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from deltareg.statistics.power import POWER
from deltareg.suites.drafting.measures import FORGETTING, DraftMeasure
from deltareg.suites.drafting.rows import Task
from deltareg.suites.drafting.sizes import SizedComparison, VersionSpread, gain_asked, loss_allowed, size
from deltareg.suites.reference import BEST

GENERAL_LOSS = 0.33
"""What a delta may usually lose of general text: a third of its perplexity."""
_LUMPY = 1.1
"""How much larger a loss on few samples has to be before that is worth saying."""
_ABOVE_GUESS = 0.25
"""How far from a guess to what is always right a version has to come."""


@dataclass(frozen=True, slots=True)
class SuiteAim:
    """The user's requirements for a suite.

    Attributes:
        power: How often a true result should be shown.
        margin: What may be lost, as people write it; None to have it chosen.
    """

    power: float = POWER
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class GeneralText:
    """A text of a language or domain that a delta must not forget."""

    group: str
    text: str


@dataclass(frozen=True, slots=True)
class GeneralTexts:
    """General texts, and which of them a base is asked.

    Attributes:
        texts: The texts, with their groups; empty if none are asked.
        origin: Where they are from, for people; why there are none where there are none.
        unknown: The groups that the base does not understand, which are not asked.
        is_known: Whether the base was asked what it understands; else each verification asks it.
    """

    texts: Sequence[GeneralText] = ()
    origin: str = ""
    unknown: Sequence[str] = ()
    is_known: bool = False

    @property
    def groups(self) -> list[str]:
        """The groups, in the order of their first texts."""
        return list(dict.fromkeys(one.group for one in self.texts))

    def keep_understood(self, names: Collection[str]) -> "GeneralTexts":
        """Keep the groups of these names, which a base understands."""
        known = [one for one in self.texts if one.group in names]
        unknown = [name for name in self.groups if name not in names]
        return GeneralTexts(known, self.origin, unknown, is_known=True)

    def describe(self) -> str:
        """Say which groups are asked, where they are from, and why the others are not."""
        if not self.texts and not self.unknown:
            return self.origin
        held = f"{len(self.texts)} texts, {self.origin}: {', '.join(self.groups)}" if self.texts else "none is asked"
        if self.unknown:
            held += f"; not {', '.join(self.unknown)}, which the base predicts hardly better than shuffled words"
        return held


@dataclass(frozen=True, slots=True)
class SampleSource:
    """The source of a draft's samples.

    Attributes:
        named: The file or folder, as the user named it.
        task: The task of its rows.
        by: The evidence for the task.
        rows: How many rows there are.
        repeats: How many rows are contained in another one.
        leaked: How many are in the training data.
        training: The training data that was searched for them; empty if none was.
        classes: The classes in the order of their numbers.
        available: How many a suite may take.
        guess: What a guess would get right, of answers that are chosen among others; None elsewhere.
    """

    named: str
    task: Task
    by: str
    rows: int
    repeats: int = 0
    leaked: int = 0
    training: str = ""
    classes: Sequence[str] = ()
    available: int = 0
    guess: float | None = None


@dataclass(frozen=True, slots=True)
class DraftComparison:
    """A comparing check of a draft.

    Attributes:
        name: `in_domain`, `general`, `kept`, or that of a further measure of the same samples.
        measure: The measure.
        probes: The probe set.
        against: The reference.
        change: The change that the threshold asks for, in its own unit.
        why: For people: the requirement, and the source of the number.
        misses: For people: the losses that it does not catch; empty if unknown.
        undecided: The outcome if the samples decide nothing: a warning, with which the gate asks for
            more of them. A failure would stop every fifth healthy version.
        least: What the measure itself must reach; None for nothing.
        reference: The reference beside it that does not move; empty for none.
    """

    name: str
    measure: DraftMeasure
    probes: str
    against: str
    change: float
    why: str
    misses: str = ""
    undecided: str = "warn"
    least: float | None = None
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """The draft of a suite.

    Attributes:
        name: The suite's.
        line: The line that it is for.
        source: Where its samples come from.
        n: How many samples of the domain it takes.
        file: The file with them.
        general: General texts.
        comparisons: In the order in which they run.
        sized: The comparison with the promoted version.
        notes: Further remarks.
    """

    name: str
    line: str
    source: SampleSource
    n: int
    file: str
    general: GeneralTexts
    comparisons: Sequence[DraftComparison]
    sized: SizedComparison
    notes: Sequence[str] = ()


def draft(
    *,
    name: str,
    line: str,
    source: SampleSource,
    measure: DraftMeasure,
    file: str,
    in_domain: VersionSpread,
    general: GeneralTexts,
    elsewhere: VersionSpread,
    aim: SuiteAim,
    closer: Sequence[tuple[DraftMeasure, VersionSpread]] = (),
    reached: float | None = None,
    notes: Sequence[str] = (),
) -> Draft:
    """Choose margins and sizes, and return the draft.

    Args:
        name: The suite's.
        line: The line that it is for.
        source: Where its samples come from.
        measure: The measure of its task.
        file: The file with its samples.
        in_domain: How healthy versions differ on them.
        general: General texts.
        elsewhere: How healthy versions differ on general texts.
        aim: The user's requirements.
        closer: Further measures of the same samples, which show what the first one misses, and how
            healthy versions differ by each.
        reached: The least that a version of the line reached; None where none was measured.
        notes: Further remarks.
    """
    sized = size(measure, in_domain, available=source.available, power=aim.power, margin=aim.margin)
    comparisons = [_above_guess(_in_domain(measure, in_domain, sized, aim), source.guess, reached)]
    if general.texts:
        comparisons.append(_general(elsewhere))
    comparisons.append(_compare_with_promoted(measure, sized, aim))
    comparisons += [_beside(one, spread, samples=sized.n, aim=aim) for one, spread in closer]
    return Draft(name, line, source, sized.n, file, general, comparisons, sized, notes)


def _in_domain(measure: DraftMeasure, spread: VersionSpread, sized: SizedComparison, aim: SuiteAim) -> DraftComparison:
    requested = gain_asked(spread, sized.n, power=aim.power)
    # A gain of perplexity is a fall, by a share of what the base has.
    gain = math.floor(_fall(measure, requested) * 1000) / 1000
    least = measure.say(max(0.0, _fall(measure, min(spread.gains, default=0.0))))
    if not spread.gains:
        why = "better than the base; there is no version yet to say by how much"
    elif gain > 0:
        why = f"better than the base by {measure.say(gain)}; every version so far gained {least}"
    else:
        why = (
            f"not worse than the base by more than {measure.say(-gain)}: some version gained "
            f"{least} only, and {sized.n} samples do not show so little"
        )
    misses = "a version that gains as much, and could have gained more"
    return DraftComparison("in_domain", measure, "in_domain", "base", gain, why, misses)


def _above_guess(comparison: DraftComparison, guess: float | None, reached: float | None) -> DraftComparison:
    """Ask for more than a guess gets: a version that learnt nothing can be better than its base."""
    if guess is None:
        return comparison
    above = (1 - guess) * _ABOVE_GUESS
    if reached is not None and reached > guess:
        above = min(above, (reached - guess) / 2)
    least = math.floor((guess + above) * 1000) / 1000
    why = (
        f"{comparison.why}; and above {comparison.measure.say(least)}, as a guess gets {comparison.measure.say(guess)}"
    )
    if reached is not None and reached <= guess:
        why += ", and some version so far got no more"
    return replace(comparison, why=why, least=least)


def _fall(measure: DraftMeasure, gain: float) -> float:
    return -math.expm1(-gain) if measure.is_relative else gain


def _general(spread: VersionSpread) -> DraftComparison:
    loss, why = loss_allowed(FORGETTING, spread, usual=GENERAL_LOSS)
    reason = f"no language or domain may become less likely by more than {FORGETTING.say(loss)}: {why}"
    misses = f"a version that loses less than {FORGETTING.say(loss)} of each"
    return DraftComparison("general", FORGETTING, "general", "base", -loss, reason, misses)


def _compare_with_promoted(measure: DraftMeasure, sized: SizedComparison, aim: SuiteAim) -> DraftComparison:
    why = (
        "no worse than the promoted version, nor than the best that the channel served, by more than "
        f"{measure.say(sized.margin)}: {sized.learned}"
    )
    return DraftComparison(
        "kept",
        measure,
        "in_domain",
        "promoted",
        -float(f"{sized.margin:.3g}"),
        why,
        describe_missed(measure, sized, aim),
        reference=BEST,
    )


def _beside(measure: DraftMeasure, spread: VersionSpread, *, samples: int, aim: SuiteAim) -> DraftComparison:
    """Draft a comparison by a further measure, on the same samples."""
    sized = size(measure, spread, available=min(samples, measure.most), power=aim.power)
    comparison = _compare_with_promoted(measure, sized, aim)
    limit = "no lower" if measure.greater_is_better else "no higher"
    why = (
        f"{measure.description} {limit} than by either of the two by more than "
        f"{measure.say(sized.margin)}: {sized.learned}"
    )
    return replace(comparison, name=measure.name, why=why)


def describe_missed(measure: DraftMeasure, sized: SizedComparison, aim: SuiteAim) -> str:
    """Describe the losses that a comparison with the promoted version misses, and the remedy."""
    losses, often = sized.losses, f"{round(100 * aim.power)} times in 100"
    if not losses.held > 0:
        return (
            f"any loss under {measure.say(sized.margin)} may pass, and so few samples stop healthy versions, too:"
            f" {round(100 * (1 - sized.power))} in 100; bring more samples, or allow a larger margin"
        )
    text = f"a loss under {measure.say(losses.held)}: from there on a version does not pass, {often}"
    if math.isfinite(losses.failed):
        text += f"; it fails from {measure.say(losses.failed)}"
    if losses.failed_in_lumps > losses.failed * _LUMPY:
        later = f"from {measure.say(losses.failed_in_lumps)}" if math.isfinite(losses.failed_in_lumps) else "never"
        text += f", and {later} where a tenth of the samples has all of the loss"
    four = measure.from_scale(measure.to_scale(losses.held) / 2), measure.from_scale(measure.to_scale(sized.margin) / 2)
    return f"{text}; {4 * sized.n:,} samples with a margin of {measure.say(four[1])} would stop {measure.say(four[0])}"
