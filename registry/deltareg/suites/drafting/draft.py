"""A draft: the content of a future suite, with the facts about each of its comparisons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from deltareg.statistics.power import POWER
from deltareg.suites.drafting.measures import PERPLEXITY, DraftMeasure
from deltareg.suites.drafting.rows import Task
from deltareg.suites.drafting.sizes import SizedComparison, VersionSpread, gain_asked, loss_allowed, size, size_for_half

GENERAL_LOSS = 0.33
"""What a delta may usually lose of general text: a third of its perplexity."""


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


@dataclass(frozen=True, slots=True)
class DraftComparison:
    """A comparing check of a draft.

    Attributes:
        name: `in_domain`, `general`, `kept` or `likely`.
        measure: The measure.
        probes: The probe set.
        against: The reference.
        change: The change that the threshold asks for, in its own unit.
        why: For people: the requirement, and the source of the number.
        misses: For people: the losses that it does not catch; empty if unknown.
        undecided: The outcome if the samples decide nothing: a warning, which closes the gate of a
            protected channel. A failure would stop every fifth healthy version.
    """

    name: str
    measure: DraftMeasure
    probes: str
    against: str
    change: float
    why: str
    misses: str = ""
    undecided: str = "warn"


@dataclass(frozen=True, slots=True)
class Draft:
    """The draft of a suite.

    Attributes:
        name: The suite's.
        line: The line that it is for.
        source: Where its samples come from.
        n: How many samples of the domain it takes.
        file: The file with them.
        general: General texts, with their source; empty if there are none.
        comparisons: In the order in which they run.
        sized: The comparison with the promoted version.
        notes: Further remarks.
    """

    name: str
    line: str
    source: SampleSource
    n: int
    file: str
    general: tuple[Sequence[str], str]
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
    general: tuple[Sequence[str], str],
    elsewhere: VersionSpread,
    aim: SuiteAim,
    closer: tuple[DraftMeasure, VersionSpread] | None = None,
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
        general: General texts, with their source.
        elsewhere: How healthy versions differ on general texts.
        aim: The user's requirements.
        closer: A second measure of the same samples that shows smaller losses, and how healthy
            versions differ by it.
        notes: Further remarks.
    """
    sized = size(measure, in_domain, available=source.available, power=aim.power, margin=aim.margin)
    comparisons = [_in_domain(measure, in_domain, sized, aim)]
    if general[0]:
        comparisons.append(_general(elsewhere))
    comparisons.append(_compare_with_promoted(measure, in_domain, sized, aim))
    if closer is not None:
        comparisons.append(_likely(*closer, samples=sized.n, aim=aim))
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


def _fall(measure: DraftMeasure, gain: float) -> float:
    return -math.expm1(-gain) if measure.is_relative else gain


def _general(spread: VersionSpread) -> DraftComparison:
    loss, why = loss_allowed(PERPLEXITY, spread, usual=GENERAL_LOSS)
    reason = f"general texts may become less likely by {PERPLEXITY.say(loss)}: {why}"
    misses = f"a version that loses less than {PERPLEXITY.say(loss)} of general text"
    return DraftComparison("general", PERPLEXITY, "general", "base", -loss, reason, misses)


def _compare_with_promoted(
    measure: DraftMeasure, spread: VersionSpread, sized: SizedComparison, aim: SuiteAim
) -> DraftComparison:
    why = f"no worse than the promoted version by more than {measure.say(sized.margin)}: {sized.learned}"
    return DraftComparison(
        "kept",
        measure,
        "in_domain",
        "promoted",
        -float(f"{sized.margin:.3g}"),
        why,
        describe_missed(measure, spread, sized, aim),
    )


def _likely(measure: DraftMeasure, spread: VersionSpread, *, samples: int, aim: SuiteAim) -> DraftComparison:
    """Draft a comparison of how likely the right texts are, on the same samples."""
    sized = size(measure, spread, available=samples, power=aim.power)
    comparison = _compare_with_promoted(measure, spread, sized, aim)
    why = (
        f"{measure.description} no higher than by the promoted version by more than "
        f"{measure.say(sized.margin)}: {sized.learned}"
    )
    return replace(comparison, name="likely", why=why)


def describe_missed(measure: DraftMeasure, spread: VersionSpread, sized: SizedComparison, aim: SuiteAim) -> str:
    """Describe the losses that a comparison with the promoted version misses, and the remedy."""
    if sized.stopped <= 0:
        needed = size(measure, spread, available=10**9, power=aim.power, margin=sized.margin)
        return (
            f"any loss under {measure.say(sized.margin)} may pass, and so few samples stop healthy "
            f"versions, too; {needed.n:,} samples would stop less than one of "
            f"{round(1 / (1 - aim.power))} of these"
        )
    better = size_for_half(measure, spread, sized, power=aim.power)
    return (
        f"a loss under {measure.say(sized.stopped)} would pass more than "
        f"{round(100 * (1 - aim.power))} times in 100; {better.n:,} samples with a margin of "
        f"{measure.say(better.margin)} would catch {measure.say(better.stopped)} as surely"
    )
