"""Runs a suite's checks over a case, in the child."""

from collections.abc import Collection, Iterator, Mapping

from deltareg.errors import DeltaregError, Inconclusive, IntegrityFailure, NoProbe, Refused
from deltareg.suites.suite import CheckSpec
from deltareg.wire import CheckResult
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding, Value, refusal
from deltareg_verify.judging.checks import all_checks


def examine(
    case: Case, *, checks: Mapping[str, Check] | None = None, waived: Collection[str] = ()
) -> Iterator[CheckResult]:
    """Run the suite's checks in order and yield each result as it comes.

    After a static check has failed, the rest are listed as skipped: a delta whose stored values are
    wrong is not put onto a device. A waived check stops nothing.

    Args:
        case: The version.
        checks: By name; None takes all.
        waived: The names of the waived checks.

    Raises:
        Inconclusive: The machine could not do it; nothing follows about the delta.
    """
    by_name = all_checks() if checks is None else checks
    failed = ""
    for spec in case.suite.checks:
        check = by_name.get(spec.check)
        if failed:
            yield skip_check(spec, f"{failed} failed before it")
        elif check is None:
            yield skip_check(spec, "this worker has no such check; upgrade deltareg-worker")
        else:
            finding, seconds = _run(check, spec, case)
            result = _result(spec, finding, seconds)
            is_end = check.is_static and result.verdict == "fail" and spec.name not in waived
            failed = spec.name if is_end else ""
            yield result


def skip_check(spec: CheckSpec, reason: str) -> CheckResult:
    """Return the result of a check that should have run and did not."""
    return CheckResult(name=spec.name, verdict="skipped", detail=reason)


def _run(check: Check, spec: CheckSpec, case: Case) -> tuple[Finding, float]:
    started = case.clock()
    finding = _find(check, spec, case)
    if finding.verdict == "n/a" and not (spec.form is not None and spec.form.may_not_apply):
        finding = Finding("skipped", detail=f"says n/a but always applies: {finding.detail}")
    return finding, round(case.clock() - started, 4)


def _result(spec: CheckSpec, finding: Finding, seconds: float) -> CheckResult:
    compared = finding.comparison
    return CheckResult(
        name=spec.name,
        value=_short(finding.value),
        threshold=_short(finding.threshold),
        baseline=_short(finding.baseline),
        verdict=finding.verdict,
        seconds=seconds,
        code=finding.code,
        detail=finding.detail,
        comparison=None if compared is None else compared.answer(),
        beside=[one.answer() for one in finding.beside],
    )


def _short(value: Value) -> Value:
    """Round a number to its significant digits."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _find(check: Check, spec: CheckSpec, case: Case) -> Finding:
    try:
        return check.run(case, spec)
    except Refused as error:
        return refusal(next(p for p in error.problems if p.code == error.problem_code))
    except IntegrityFailure as error:
        return Finding("fail", code=error.code, detail=error.message)
    except NoProbe as error:  # others need none, and a suite may bring its own
        return Finding("skipped", detail=f"{error.message}; {error.fix}" if error.fix else error.message)
    except Inconclusive:
        raise
    except DeltaregError as error:
        return Finding("skipped", detail=f"could not run: {error.message}")
    except MemoryError as error:
        raise Inconclusive(f"not enough memory for check {spec.name}") from error
    except Exception as error:  # noqa: BLE001  # whatever broke, it is told and never counts as a pass
        return Finding("skipped", detail=f"could not run: {type(error).__name__}: {error}")
