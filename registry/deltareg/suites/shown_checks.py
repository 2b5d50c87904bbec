"""Whether all required checks of a suite have shown something, whatever their outcome."""

from collections import Counter
from collections.abc import Iterable, Sequence

from deltareg.suites.suite import CheckSpec, Suite

# A check that was skipped has shown nothing; one that failed has shown something.
_SHOWS = frozenset({"pass", "warn", "fail"})


def unshown(suite: Suite, outcomes: Iterable[tuple[str, str]]) -> list[str]:
    """Return the names of a suite's required checks that showed nothing.

    A check shows something if it has exactly one result that is not `skipped`, and not `n/a` for a
    check that always applies.

    Args:
        suite: The suite.
        outcomes: The name and the outcome of each result, in any order.
    """
    results = list(outcomes)
    return [spec.name for spec in suite.checks if spec.required and not _is_shown(spec, results)]


def _is_shown(spec: CheckSpec, outcomes: Sequence[tuple[str, str]]) -> bool:
    counts = Counter(outcome for name, outcome in outcomes if name == spec.name)
    if counts.total() != 1:
        return False
    (outcome,) = counts
    return outcome in _SHOWS or (outcome == "n/a" and spec.may_not_apply)
