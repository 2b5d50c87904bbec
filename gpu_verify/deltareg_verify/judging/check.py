"""What a check is: a function from a case to a finding, one file each in `checks`."""

from collections.abc import Callable
from dataclasses import dataclass

from deltareg.errors import Problem
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg.wire import CheckOutcome
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.margin_comparison import MarginComparison

Value = float | int | str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check.

    Attributes:
        verdict: Pass, fail, warn or n/a; `skipped` where the check did not run.
        value: What was measured.
        threshold: What it was compared with.
        baseline: The same measure of the base alone.
        code: The problem code of a failure or warning.
        detail: A sentence for people.
        comparison: The gravest comparison with a margin.
        beside: The other comparisons of the check.
    """

    verdict: CheckOutcome
    value: Value = None
    threshold: Value = None
    baseline: Value = None
    code: str = ""
    detail: str = ""
    comparison: MarginComparison | None = None
    beside: tuple[MarginComparison, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: As suites name it; the name of its file.
        run: The check itself.
        form: The parameters that a suite may set.
        is_static: Whether it looks at stored values only; when it fails, no later check runs.
    """

    name: str
    run: Callable[[Case, CheckSpec], Finding]
    form: CheckForm
    is_static: bool = False


def refusal(problem: Problem, *, value: Value = None) -> Finding:
    """Turn a problem into a failure that names its tensor and how to fix it."""
    where = f" [{problem.tensor}]" if problem.tensor else ""
    fix = f"; {problem.fix}" if problem.fix else ""
    detail = f"{problem.message}{where}{fix}"
    return Finding("fail", value=value, code=problem.code, detail=detail)
