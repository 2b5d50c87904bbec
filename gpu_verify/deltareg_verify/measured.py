"""From a measure to a finding: the same rule for every check that has a threshold."""

from dataclasses import dataclass

from deltareg.errors import InvalidInput
from deltareg.estimate import Estimate
from deltareg.suite import CheckSpec
from deltareg_verify.case import Case
from deltareg_verify.check import Finding
from deltareg_verify.engine import Engine, State

WORSE = {"base": "worse_than_base", "promoted": "regression"}


@dataclass(frozen=True, slots=True)
class Rival:
    """What a version is compared with.

    Attributes:
        engine: That runs it.
        state: In which state of that engine.
    """

    engine: Engine
    state: State


def rival(case: Case, spec: CheckSpec) -> Rival | None:
    """Give what a check compares with; None when no version is promoted yet."""
    if spec.against != "promoted":
        return Rival(case.engine, "base")
    return None if case.promoted is None else Rival(case.promoted, "attached")


def nothing_promoted() -> Finding:
    """Say that there is nothing to compare with yet."""
    return Finding("n/a", detail="the channel serves no other version to compare with yet")


def missing(spec: CheckSpec, why: str) -> Finding:
    """Say that there is no measure; a suite that asks for it may say that this does not matter."""
    if spec.parameters.get("missing") == "n/a":
        return Finding("n/a", detail=why)
    return Finding("fail", code="missing_measure", detail=why)


def judged(
    spec: CheckSpec,
    found: Estimate,
    baseline: float | None,
    *,
    told: str,
    change: Estimate | None = None,
) -> Finding:
    """Hold a measure against the threshold of its check.

    Args:
        spec: The check, with its threshold.
        found: The measure with this version.
        baseline: The same measure of what it is compared with.
        told: What was measured, in words.
        change: How much better or worse it is on the same samples, as a measure; its interval
            decides where a change is asked for, because what both find hard cancels out.
    """
    threshold = spec.threshold
    detail = f"{told}: {found}"
    if threshold is None:
        return Finding("pass", found.value, None, baseline, detail=f"{detail}; no threshold")
    if found.n < int(spec.parameters.get("least_samples", 0)):
        raise InvalidInput(f"{found.n} samples are too few for a threshold: {detail}")
    weighed = change if change is not None and threshold.needs_baseline else found
    if weighed is not found:
        detail += f"; beside the same samples of the {spec.against} {weighed}"
    mark = threshold.mark(baseline)
    judgement = threshold.judge(weighed, baseline)
    if judgement == "pass":
        return Finding("pass", found.value, mark, baseline, detail=detail)
    code = WORSE.get(spec.against if threshold.needs_baseline else "", "below_threshold")
    means = "fail"
    if judgement == "undecided":
        detail += "; the interval does not decide it"
        means = str(spec.parameters.get("undecided", "fail"))
    is_warning = "warn" in {means, spec.parameters.get("worse")}
    return Finding(
        "warn" if is_warning else "fail", found.value, mark, baseline, code=code, detail=detail
    )
