"""From a measure to a finding: one rule for every check that has a threshold."""

import math
from dataclasses import replace

from deltareg.errors import InvalidInput
from deltareg.suites.estimate import Estimate
from deltareg.suites.reference import BASE, PROMOTED
from deltareg.suites.suite import CheckSpec
from deltareg.wire import CheckOutcome
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide, Measure, MeasureChange
from deltareg_verify.judging.check import Finding
from deltareg_verify.judging.comparison_trial import (
    ComparisonTrial,
    LookValues,
    against,
    graver,
    order_of,
    plan,
    run_looks,
)
from deltareg_verify.judging.margin_comparison import MarginComparison

WORSE = {BASE: "worse_than_base"}
REGRESSION = "regression"


def compare_measure(case: Case, spec: CheckSpec, measure: Measure, *, told: str, needs: str) -> Finding:
    """Compare a measure with what the check names, on its probe set.

    Args:
        case: The version.
        spec: The check.
        measure: Measures both sides.
        told: The measure, in words.
        needs: What the measure requires, for versions without it.
    """
    other = rival(case, spec)
    if other is None:
        return no_rival(case, spec, spec.against)
    ours, samples = EngineSide(case.engine, "attached"), case.samples(spec.probes)
    planned = plan(spec, len(samples))
    order = order_of(len(samples), seed=case.suite.seed, is_drawn=spec.looks is not None)
    rows = LookValues(measure, samples, order=order)
    if not spec.compares:
        change = measure(other, ours, samples, seed=case.suite.seed)
        if change is None:
            return report_unmeasured(case, spec, f"needs {needs}")
        return judge_measure(spec, change.b, change.a.value, told=told)
    return _compare_with_rival(case, spec, rows, other, ours, planned=planned, told=told, needs=needs)


def _compare_with_rival(
    case: Case,
    spec: CheckSpec,
    rows: LookValues,
    other: EngineSide,
    ours: EngineSide,
    *,
    planned: tuple[int, ...],
    told: str,
    needs: str,
) -> Finding:
    """Compare a version with its rival, and both with the reference where there is one."""
    threshold = spec.threshold
    assert threshold is not None, "only what has a margin is tried"
    referee = _side(case, spec, spec.reference) if spec.reference else None
    if spec.reference and referee is None:
        return no_rival(case, spec, spec.reference)
    family = case.suite.comparisons * (1 if referee is None else 2)
    trial = run_looks(against(rows, other, ours), threshold, planned, family=family)
    if trial is None:
        return report_unmeasured(case, spec, f"needs {needs}")
    if referee is None:
        return tell(spec, trial, told=told, other=case.describe_rival(spec.key_of(spec.against)))
    beside = run_looks(against(rows, referee, ours), threshold, planned, family=family)
    broken = run_looks(against(rows, referee, other), threshold, planned, family=family)
    if beside is None or broken is None:
        return missing(spec, f"needs {needs}, of {case.describe_rival(spec.key_of(spec.reference))} too")
    if broken.decision == "missed" or not math.isfinite(broken.change.b.value):
        note = (
            f"{case.describe_rival(PROMOTED)}, which the channel serves, is itself worse than"
            f" {case.describe_rival(spec.key_of(spec.reference))}: {broken.change.b.value:.4g} beside"
            f" {broken.change.a.value:.4g}; this version is held against the reference alone"
        )
        return tell(spec, beside, told=told, other=case.describe_rival(spec.key_of(spec.reference)), note=note)
    gravest = graver(beside, trial)
    name = spec.against if gravest.change is trial.change else spec.reference
    return tell(spec, gravest, told=told, other=case.describe_rival(spec.key_of(name)), named=name)


def judge_measure(
    spec: CheckSpec,
    found: Estimate,
    baseline: float | None,
    *,
    told: str,
    change: Estimate | MeasureChange | None = None,
    other: str = "",
) -> Finding:
    """Compare a measure with the threshold of its check.

    Args:
        spec: The check, with its threshold.
        found: The measure of this version.
        baseline: The same measure of the other side.
        told: The measure, in words.
        change: How much better or worse this version is on the same samples, as a measure; its
            interval decides where a change is asked for, because what both find hard cancels out.
        other: The other side, in words.
    """
    threshold = spec.threshold
    detail = f"{told}: {found}"
    if threshold is None:
        return Finding("pass", found.value, None, baseline, detail=f"{detail}; no threshold")
    _check_count(spec, found, detail)
    if threshold.needs_baseline:
        assert baseline is not None, "a change is asked of something"
        paired = change if isinstance(change, MeasureChange) else _change(found, baseline, change)
        trial = run_looks(lambda _: paired, threshold, (found.n,), family=1)
        assert trial is not None, "there is a measure"
        return tell(spec, trial, told=told, other=other or _whom(spec))
    mark = threshold.mark(baseline)
    judgement = threshold.judge(found, baseline)
    if judgement == "pass":
        return Finding("pass", found.value, mark, baseline, detail=detail)
    means = "fail"
    if judgement == "undecided":
        detail += "; the interval does not decide it"
        means = str(spec.parameters.get("undecided", "fail"))
    is_warning = means != "fail" or spec.parameters.get("worse") == "warn"
    verdict: CheckOutcome = "warn" if is_warning else "fail"
    return Finding(verdict, found.value, mark, baseline, code="below_threshold", detail=detail)


def tell(spec: CheckSpec, trial: ComparisonTrial, *, told: str, other: str, note: str = "", named: str = "") -> Finding:
    """Return the finding of a comparison, for now: Holm's procedure comes at the end."""
    threshold, value = spec.threshold, trial.change.b
    assert threshold is not None, "only what has a margin is tried"
    _check_count(spec, value, f"{told}: {value}")
    baseline = trial.change.a.value
    if math.isfinite(value.value) and not math.isfinite(baseline):
        return Finding("skipped", value.value, detail=f"{told}: {other} gives no number to compare")
    plain = threshold.without_change
    compared = MarginComparison(
        description=f"{told}: {value}",
        other=other,
        against=named or spec.against,
        decision=trial.decision,
        ends=trial.looks[-1].at(trial.tail),
        tail=trial.tail,
        mark=trial.looks[-1].mark,
        baseline=baseline,
        is_upward=threshold.greater_is_better,
        n=value.n,
        planned=trial.planned,
        look=len(trial.looks),
        p=trial.p,
        needs=trial.needs,
        plain="pass" if plain is None else plain.judge(value, None),
        value=value.value,
        undecided=str(spec.parameters.get("undecided", "fail")),
        worse=str(spec.parameters.get("worse", "fail")),
        code=WORSE.get(named or spec.against, REGRESSION),
        note=note,
    )
    return as_finding(Finding("n/a", value.value, threshold.mark(baseline), baseline), compared)


def as_finding(finding: Finding, compared: MarginComparison) -> Finding:
    """Return a finding with the outcome of its comparison."""
    verdict, code = compared.outcome
    return replace(finding, verdict=verdict, code=code, detail=compared.detail, comparison=compared)


def rival(case: Case, spec: CheckSpec) -> EngineSide | None:
    """Return the other side of a check; None when there is no such version."""
    return _side(case, spec, spec.against)


def no_rival(case: Case, spec: CheckSpec, name: str) -> Finding:
    """Report that there is nothing to compare with; skipped where a named version is missing."""
    if name == PROMOTED:
        return Finding("n/a", detail="the channel serves no other version to compare with yet")
    why = case.why_no_reference(spec.key_of(name))
    return Finding("n/a" if name.startswith("best of") else "skipped", detail=why)


def report_unmeasured(case: Case, spec: CheckSpec, why: str) -> Finding:
    """Report that a version has no measure; skipped where no class here runs its head."""
    idle = case.fired.not_exercised
    if idle:
        return Finding("skipped", detail=f"no class here runs {', '.join(idle[:3])}, and it {why}")
    return missing(spec, why)


def missing(spec: CheckSpec, why: str) -> Finding:
    """Report that there is no measure; a suite may declare that this does not matter."""
    if spec.parameters.get("missing") == "n/a":
        return Finding("n/a", detail=why)
    return Finding("fail", code="missing_measure", detail=why)


def _side(case: Case, spec: CheckSpec, name: str) -> EngineSide | None:
    if name in {"", BASE}:
        return EngineSide(case.engine, "base")
    engine = case.promoted if name == PROMOTED else case.reference(spec.key_of(name))
    return None if engine is None else EngineSide(engine, "attached")


def _check_count(spec: CheckSpec, found: Estimate, detail: str) -> None:
    if found.n < int(spec.parameters.get("least_samples", 0)):
        raise InvalidInput(f"{found.n} samples are too few for a threshold: {detail}")


def _whom(spec: CheckSpec) -> str:
    return "the promoted version" if spec.against == PROMOTED else f"the {spec.against or BASE}"


def _change(found: Estimate, baseline: float, beside: Estimate | None) -> MeasureChange:
    """Build a change from what is known: the interval around the measure, or the measure alone."""
    around = found if beside is None else beside
    low, high = around.low - baseline, around.high - baseline
    step = Estimate(found.value - baseline, low, high, found.n)
    return MeasureChange(Estimate(baseline, baseline, baseline, found.n), found, step)
