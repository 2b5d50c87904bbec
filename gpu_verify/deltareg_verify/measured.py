"""From a measure to a finding: the same rule for every check that has a threshold."""

from deltareg.errors import InvalidInput
from deltareg.suites.estimate import Estimate
from deltareg.suites.suite import CheckSpec
from deltareg_verify.case import Case
from deltareg_verify.changes import Measure, Side
from deltareg_verify.check import Finding

WORSE = {"base": "worse_than_base", "promoted": "regression"}


def compared(case: Case, spec: CheckSpec, measure: Measure, *, told: str, needs: str) -> Finding:
    """Hold a measure against what the check compares it with, on its probe set.

    Args:
        case: The version.
        spec: The check.
        measure: Takes the measure of both.
        told: What is measured, in words.
        needs: What it takes, for a version of which there is no measure.
    """
    other = rival(case, spec)
    if other is None:
        return nothing_promoted()
    ours = Side(case.engine, "attached")
    found = measure(other, ours, case.samples(spec.probes), seed=case.suite.seed)
    if found is None:
        return missing(spec, f"needs {needs}")
    return judged(spec, found.b, found.a.value, told=told, change=found.beside)


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
    if weighed is not found and baseline is not None:
        whom = "the promoted version" if spec.against == "promoted" else f"the {spec.against}"
        detail += f"; {whom} has {baseline:.4g}; paired with it, sample by sample: {weighed}"
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


def rival(case: Case, spec: CheckSpec) -> Side | None:
    """Give what a check compares with; None when no version is promoted yet."""
    if spec.against != "promoted":
        return Side(case.engine, "base")
    return None if case.promoted is None else Side(case.promoted, "attached")


def nothing_promoted() -> Finding:
    """Say that there is nothing to compare with."""
    return Finding("n/a", detail="the channel serves no other version to compare with yet")


def missing(spec: CheckSpec, why: str) -> Finding:
    """Say that there is no measure; a suite that asks for it may say that this does not matter."""
    if spec.parameters.get("missing") == "n/a":
        return Finding("n/a", detail=why)
    return Finding("fail", code="missing_measure", detail=why)
