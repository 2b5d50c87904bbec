"""From the results of checks to a verdict: a pure rule that never turns "not shown" into a pass."""

from collections.abc import Sequence

from deltareg.suites import shown_checks
from deltareg.suites.suite import Suite
from deltareg.wire import CheckResult, Outcome


def judge(suite: Suite, results: Sequence[CheckResult]) -> Outcome:
    """Judge a version by the results of its checks.

    Any failure fails. Otherwise every required check must have given exactly one result that shows
    something: a check that is missing, skipped or doubled leaves the verdict inconclusive, and so
    does `n/a` from a check that always applies, or a suite that requires nothing.

    Args:
        suite: The suite.
        results: The results, in any order.
    """
    if any(result.verdict == "fail" for result in results):
        return "fail"
    if any(spec.required for spec in suite.checks) and not unshown(suite, results):
        return "pass"
    return "inconclusive"


def in_order(suite: Suite, results: Sequence[CheckResult]) -> list[CheckResult]:
    """Sort results in the order of a suite's checks; comparisons come in last."""
    places = {spec.name: place for place, spec in enumerate(suite.checks)}
    return sorted(results, key=lambda result: places.get(result.name, len(places)))


def unshown(suite: Suite, results: Sequence[CheckResult]) -> list[str]:
    """Name the required checks that showed nothing and so make a verdict inconclusive."""
    return shown_checks.unshown(suite, [(result.name, result.verdict) for result in results])
