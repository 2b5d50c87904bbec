"""From the results of checks to a verdict: a pure rule that never turns "not shown" into a pass."""

from collections.abc import Sequence

from deltareg.suites import shown
from deltareg.suites.suite import Suite
from deltareg.wire import CheckResult, Outcome


def judge(suite: Suite, results: Sequence[CheckResult]) -> Outcome:
    """Judge a version by what its checks gave.

    Any failure fails. Otherwise every required check must have given exactly one result that shows
    something: a check that is missing, skipped or doubled leaves the verdict inconclusive, and so
    does `n/a` from a check that always applies, or a suite that requires nothing.

    Args:
        suite: What was to be checked.
        results: What was found, in any order.
    """
    if any(result.verdict == "fail" for result in results):
        return "fail"
    if any(spec.required for spec in suite.checks) and not unshown(suite, results):
        return "pass"
    return "inconclusive"


def in_order(suite: Suite, results: Sequence[CheckResult]) -> list[CheckResult]:
    """Put results in the order of a suite's checks: comparisons are told when all were made."""
    places = {spec.name: place for place, spec in enumerate(suite.checks)}
    return sorted(results, key=lambda result: places.get(result.name, len(places)))


def unshown(suite: Suite, results: Sequence[CheckResult]) -> list[str]:
    """Name the required checks that showed nothing; they are why a verdict is inconclusive."""
    return shown.unshown(suite, [(result.name, result.verdict) for result in results])
