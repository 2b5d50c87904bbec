"""Faults of a well-formed suite: it judges nothing, or cannot show what it requires."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deltareg.statistics.intervals import paired_interval
from deltareg.statistics.power import POWER, chance_to_pass, samples_needed
from deltareg.suites.consistency import contradictions
from deltareg.suites.drafting.measures import LITTLE, DraftMeasure, measures
from deltareg.suites.drafting.repeated_rows import words_of
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import DEFAULT_SUITE, CheckSpec, Suite, built_in
from deltareg.words import Severity


@dataclass(frozen=True, slots=True)
class LintFinding:
    """A fault of a suite.

    Attributes:
        severity: An error is refused, a warning is reported.
        where: The check or the set; empty for the suite.
        message: The fault, in words.
        fix: What to do.
    """

    severity: Severity
    where: str
    message: str
    fix: str = ""


def lint(suite: Suite, samples: Mapping[str, Samples]) -> list[LintFinding]:
    """Check a suite with its probe sets; errors come first.

    Args:
        suite: The suite, read and complete.
        samples: The samples of its probe sets by name; those of tasks are left out.
    """
    findings = [
        *_of_checks(suite),
        *_find_dropped_checks(suite),
        *_find_unused_sets(suite),
        *_repeats(samples),
        *_margins(suite, samples),
    ]
    return sorted(findings, key=lambda one: one.severity != "error")


def _of_checks(suite: Suite) -> Iterator[LintFinding]:
    for found in contradictions(suite):
        yield LintFinding("error", found.where, found.message, found.fix)
    for name in suite.drifting:
        yield LintFinding(
            "warning",
            name,
            "compares with versions and with none that stays, so small losses add up unseen",
            "write `reference: best`; the channel prod asks for it",
        )
    for one in suite.checks:
        if one.form is not None and one.form.takes_threshold and one.threshold is None:
            yield LintFinding(
                "warning",
                one.name,
                "measures and never fails: it has no threshold",
                "give it one, or leave the check out",
            )


def _find_dropped_checks(suite: Suite) -> Iterator[LintFinding]:
    present = {one.check for one in suite.checks if one.required}
    expected = [one.check for one in built_in(DEFAULT_SUITE).checks if one.required]
    missing = [name for name in dict.fromkeys(expected) if name not in present]
    if missing:
        yield LintFinding(
            "warning",
            "",
            f"{DEFAULT_SUITE} requires {', '.join(missing)}, and this does not",
            f"add them, or see that policies name {DEFAULT_SUITE} beside this suite",
        )


def _find_unused_sets(suite: Suite) -> Iterator[LintFinding]:
    used = {one.probes for one in suite.checks} | {suite.probe_set}
    for name in suite.sets:
        if name not in used:
            yield LintFinding("warning", name, "no check runs on this set", "name it, or leave it out")


def _repeats(samples: Mapping[str, Samples]) -> Iterator[LintFinding]:
    owners: dict[str, str] = {}
    for name, own_samples in samples.items():
        keys = _keys(own_samples)
        twice = [key for key, times in Counter(keys).items() if times > 1]
        if twice:
            more = sum(Counter(keys)[key] - 1 for key in twice)
            yield LintFinding(
                "error",
                name,
                f"{more} of {len(keys)} samples are there twice, and count for more than they tell",
                "keep one of each; `deltareg suite init` leaves repeats out",
            )
        shared = {owners[key] for key in keys if key in owners and owners[key] != name}
        for other in sorted(shared):
            yield LintFinding("warning", name, f"shares samples with {other}", "keep them apart")
        owners.update(dict.fromkeys(keys, name))


def _keys(samples: Samples) -> list[str]:
    """Return keys that identify samples: a text's words, or a tensor's bytes."""
    if samples.texts:
        # What belongs to a text is a part of the sample: one query may have two answers.
        beside = getattr(samples, "targets", ()) or ("",) * len(samples.texts)
        return [" ".join(words_of(text)) + f"\0{other}" for text, other in zip(samples.texts, beside, strict=True)]
    arrays = [value for _, value in sorted(samples.arrays.items())]
    return ["".join(value[at].tobytes().hex() for value in arrays) for at in range(len(samples))]


def _margins(suite: Suite, samples: Mapping[str, Samples]) -> Iterator[LintFinding]:
    for one in suite.checks:
        measure = measures().get(one.check)
        probes = samples.get(one.probes)
        margin = None if measure is None else _margin(one, measure)
        if measure is not None and probes is not None and margin is not None:
            yield from _too_few(one, measure, margin, len(probes))


def _too_few(spec: CheckSpec, measure: DraftMeasure, margin: float, n: int) -> Iterator[LintFinding]:
    described = f"a margin of {measure.say(margin)} on {n} samples"
    # Two versions that answer every sample alike differ by as much as this leaves open.
    if measure.is_share and paired_interval(0, 0, n).low < -margin:
        yield LintFinding(
            "error",
            spec.name,
            f"{described} can never be shown, not even of two versions that agree",
            f"bring {_least(margin):,} samples or more, or allow a larger margin",
        )
        return
    room = measure.to_scale(margin)
    spread = LITTLE * measure.spread
    chance = chance_to_pass(spread, room, n)
    if chance < POWER - 0.01:
        needed = samples_needed(spread, room)
        yield LintFinding(
            "warning",
            spec.name,
            f"{described} is shown of {round(100 * chance)} in 100 versions that lost nothing, even if "
            "they differ little: the others do not pass",
            f"bring about {needed:,} samples, or allow a larger margin",
        )


def _margin(spec: CheckSpec, measure: DraftMeasure) -> float | None:
    """Return the allowed loss; None if a gain is required, or no change at all."""
    if spec.threshold is None:
        return None
    change = spec.threshold.min_relative_change if measure.is_relative else spec.threshold.min_absolute_change
    return -change if change is not None and change < 0 else None


def _least(margin: float) -> int:
    """Return how many samples show a margin for two versions that agree on all of them."""
    n = 2
    while paired_interval(0, 0, n).low < -margin:
        n += max(1, n // 20)
    return n
