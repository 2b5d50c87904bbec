"""From the results of checks to a verdict: a pure rule that never turns "not shown" into a pass."""

from collections import Counter
from collections.abc import Sequence

from deltareg.suites.suite import CheckSpec, Suite
from deltareg.wire import CheckResult, Outcome

SHOWN = frozenset({"pass", "warn"})


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
    required = [spec for spec in suite.checks if spec.required]
    if required and all(_is_shown(spec, results) for spec in required):
        return "pass"
    return "inconclusive"


def unshown(suite: Suite, results: Sequence[CheckResult]) -> list[str]:
    """Name the required checks that showed nothing; they are why a verdict is inconclusive."""
    required = (spec for spec in suite.checks if spec.required)
    return [spec.name for spec in required if not _is_shown(spec, results)]


def _is_shown(spec: CheckSpec, results: Sequence[CheckResult]) -> bool:
    counts = Counter(result.verdict for result in results if result.name == spec.name)
    if counts.total() != 1:
        return False
    (verdict,) = counts
    return verdict in SHOWN or (verdict == "n/a" and spec.may_not_apply)
