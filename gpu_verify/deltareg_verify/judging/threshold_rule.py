"""From a measure to a finding: one rule for every check that has a threshold."""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from deltareg.errors import InvalidInput
from deltareg.suites.estimate import Estimate
from deltareg.suites.reference import BASE, PROMOTED
from deltareg.suites.suite import CheckSpec
from deltareg.wire import CheckOutcome
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide, Measure, MeasureChange
from deltareg_verify.judging.check import Finding
from deltareg_verify.judging.comparison_trial import ComparisonTrial, LookValues, order_of, plan, run_looks
from deltareg_verify.judging.margin_comparison import MarginComparison
from deltareg_verify.judging.rivals import ChangeOf, Rival, RivalSearch

WORSE = {BASE: "worse_than_base"}
REGRESSION = "regression"
NOTHING = "nothing_to_compare"
_GRAVITY: dict[CheckOutcome, int] = {"fail": 0, "skipped": 1, "n/a": 2, "warn": 3, "pass": 4}
_Compared = tuple[Rival, Finding]


def compare_measure(case: Case, spec: CheckSpec, measure: Measure, *, told: str, needs: str) -> Finding:
    """Compare a measure with what the check names, on its probe set.

    Args:
        case: The version.
        spec: The check.
        measure: Measures both sides.
        told: The measure, in words.
        needs: What the measure requires, for versions without it.
    """
    samples = case.samples(spec.probes)
    planned = plan(spec, len(samples))
    order = order_of(len(samples), seed=case.suite.seed, is_drawn=spec.looks is not None)
    rows = LookValues(measure, samples, order=order, seed=case.suite.seed)
    return compare_with_rivals(case, spec, rows.change, planned=planned, told=told, needs=needs)


def compare_with_rivals(
    case: Case,
    spec: CheckSpec,
    change_of: ChangeOf,
    *,
    planned: tuple[int, ...],
    told: str,
    needs: str,
    is_between: bool = False,
) -> Finding:
    """Compare a version with each rival of a check; the gravest result is the check's.

    Args:
        case: The version.
        spec: The check.
        change_of: Compares two versions on a number of first samples.
        planned: How many samples each look sees.
        told: The measure, in words.
        needs: What the measure requires, for versions without it.
        is_between: Whether the measure is how far two versions are apart, so that one alone has none.
    """
    ours, search = EngineSide(case.engine, "attached"), RivalSearch(case, spec)
    compared: list[_Compared] = []
    note = ""
    for rival in search:
        finding = _compare(spec, change_of, rival, ours, planned=planned, told=told)
        if finding is None and change_of(ours, ours, planned[-1]) is None:
            return report_unmeasured(case, spec, f"needs {needs}")
        if finding is None:
            search.stand_in_for(rival, f"has no {told.partition(',')[0]}")
        elif finding.verdict == "skipped":
            search.stand_in_for(rival, "gives no number to compare")
            if rival.name == PROMOTED:
                note = f"{rival.description}, which the channel serves, gives no number"
        else:
            compared.append((rival, finding))
    if not compared:
        alone = None if is_between else change_of(ours, ours, planned[-1])
        return _judge_alone(spec, None if alone is None else alone.b, search, told=told)
    note = note or _describe_worse_incumbent(case, spec, change_of, compared, planned=planned)
    found = gravest([_with_remarks(one, note, search.absent) for _, one in compared])
    return _without_the_absent(spec, search, compared, found)


def _without_the_absent(spec: CheckSpec, search: RivalSearch, compared: list[_Compared], found: Finding) -> Finding:
    """Let what was found count for nothing but a failure where a rival is gone, or nothing stands in for it."""
    if found.verdict == "fail":
        return found
    if search.gone:
        return Finding("skipped", found.value, detail=search.gone)
    has_stand_in = any(rival.name in {PROMOTED, BASE} for rival, _ in compared)
    if search.absent and not has_stand_in:  # a reference alone makes up for nothing
        why = f"nothing to compare with: {', '.join(search.absent)}; {found.detail}"
        return replace(found, verdict="n/a", code=NOTHING, detail=f"{why}{_describe_reason(spec)}")
    return found


def _compare(
    spec: CheckSpec, change_of: ChangeOf, rival: Rival, ours: EngineSide, *, planned: tuple[int, ...], told: str
) -> Finding | None:
    """Compare a version with one rival; None without a measure, skipped without a number beside it."""
    threshold = spec.threshold
    if threshold is None or not spec.compares:
        change = change_of(rival.side, ours, planned[-1])
        return None if change is None else judge_measure(spec, change.b, change.a.value, told=told)
    trial = run_looks(partial(change_of, rival.side, ours), threshold, planned)
    return None if trial is None else tell(spec, trial, told=told, other=rival.description, named=rival.name)


def _judge_alone(spec: CheckSpec, value: Estimate | None, search: RivalSearch, *, told: str) -> Finding:
    """Judge what a version shows with nothing beside it: where a change is asked for, it cannot pass."""
    why = search.gone or f"nothing to compare with: {', '.join(search.absent)}"
    if value is not None and spec.threshold is not None and not math.isfinite(value.value):
        return _as_worse(spec, Finding("fail", value.value, code=REGRESSION, detail=f"{told}: {value}; {why}"))
    if value is not None:
        threshold = None if spec.threshold is None else spec.threshold.without_change
        plain = judge_measure(replace(spec, threshold=threshold), value, None, told=told)
        if plain.verdict == "fail" or not (spec.compares or search.gone):
            return replace(plain, detail=f"{plain.detail}; {why}")
    if search.gone:
        return Finding("skipped", None if value is None else value.value, detail=why)
    return Finding("n/a", None if value is None else value.value, code=NOTHING, detail=f"{why}{_describe_reason(spec)}")


def _describe_worse_incumbent(
    case: Case, spec: CheckSpec, change_of: ChangeOf, compared: Iterable[_Compared], *, planned: tuple[int, ...]
) -> str:
    """Say that what the channel serves is itself worse than a reference; empty if it is not."""
    rivals = [rival for rival, _ in compared]
    served = next((rival for rival in rivals if rival.name == PROMOTED), None)
    if served is None or not spec.compares or spec.threshold is None:
        return ""
    for other in rivals:
        if other is served:
            continue
        trial = run_looks(partial(change_of, other.side, served.side), spec.threshold, planned)
        if trial is not None and trial.decision == "missed":
            return (
                f"{case.describe_rival(PROMOTED)}, which the channel serves, is itself worse than"
                f" {other.description}: {trial.change.b.value:.4g} beside {trial.change.a.value:.4g}"
            )
    return ""


def _as_worse(spec: CheckSpec, finding: Finding) -> Finding:
    return replace(finding, verdict="warn") if spec.parameters.get("worse") == "warn" else finding


def _describe_reason(spec: CheckSpec) -> str:
    return f"; the suite says why that may be: {spec.unmeasured}" if spec.unmeasured else ""


def _with_remarks(finding: Finding, note: str, absent: Iterable[str]) -> Finding:
    remark = "; ".join(absent)
    if finding.comparison is None:
        return replace(finding, detail=f"{finding.detail}; {remark}") if remark else finding
    return as_finding(finding, replace(finding.comparison, note=note, stands_in=remark))


def gravest(findings: list[Finding]) -> Finding:
    """Return the gravest of findings, the first of equals, with the comparisons of the others."""
    first = min(findings, key=lambda one: (_GRAVITY[one.verdict], one.code != "undecided"))
    others = (one.comparison for one in findings if one is not first)
    return replace(first, beside=tuple(one for one in others if one is not None))


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
        paired = change if isinstance(change, MeasureChange) else as_change(found, baseline, change)
        trial = run_looks(lambda _: paired, threshold, (found.n,))
        assert trial is not None, "there is a measure"
        return tell(spec, trial, told=told, other=other or _whom(spec), named=spec.against)
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


def tell(spec: CheckSpec, trial: ComparisonTrial, *, told: str, other: str, named: str) -> Finding:
    """Return the finding of a comparison with one side; `named` is how suites name it."""
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
        against=named,
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
        code=WORSE.get(named, REGRESSION),
    )
    return as_finding(Finding("n/a", value.value, threshold.mark(baseline), baseline), compared)


def as_finding(finding: Finding, compared: MarginComparison) -> Finding:
    """Return a finding with the outcome of its comparison."""
    verdict, code = compared.outcome
    return replace(finding, verdict=verdict, code=code, detail=compared.detail, comparison=compared)


def report_unmeasured(case: Case, spec: CheckSpec, why: str) -> Finding:
    """Report that a version has no measure; skipped where no class here runs its head."""
    idle = case.fired.not_exercised
    if idle:
        return Finding("skipped", detail=f"no class here runs {', '.join(idle[:3])}, and it {why}")
    return missing(spec, why)


def missing(spec: CheckSpec, why: str) -> Finding:
    """Report that there is no measure; a suite may say why that does not matter."""
    if spec.may_be_unmeasured:
        return Finding("n/a", detail=f"{why}{_describe_reason(spec)}")
    return Finding("fail", code="missing_measure", detail=why)


def _check_count(spec: CheckSpec, found: Estimate, detail: str) -> None:
    if found.n < int(spec.parameters.get("least_samples", 0)):
        raise InvalidInput(f"{found.n} samples are too few for a threshold: {detail}")


def _whom(spec: CheckSpec) -> str:
    return "the promoted version" if spec.against == PROMOTED else f"the {spec.against or BASE}"


def as_change(found: Estimate, baseline: float, beside: Estimate | None) -> MeasureChange:
    """Build a change from what is known: the interval around the measure, or the measure alone.

    Args:
        found: This version's measure.
        baseline: The other's.
        beside: This version's measure with the interval of the change; None if none is known.
    """
    around = found if beside is None else beside
    low, high = around.low - baseline, around.high - baseline
    step = Estimate(found.value - baseline, low, high, found.n)
    return MeasureChange(Estimate(baseline, baseline, baseline, found.n), found, step)
