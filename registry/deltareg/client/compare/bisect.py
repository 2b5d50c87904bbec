"""Bisection over the versions of a line; verdicts are all it remembers, so it can be resumed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from deltareg.client.asking.lines import list_versions
from deltareg.client.asking.runs import follow_run, queue_verification
from deltareg.client.asking.suites import show_suite
from deltareg.client.context import Context
from deltareg.client.paging import walk
from deltareg.errors import InvalidInput, NotFound
from deltareg.gate.bisection import BisectionBounds, Mark, bisect, check_order
from deltareg.refs import LineRef
from deltareg.wire import CheckResult, RunCreate, RunInfo, VerdictInfo, VersionInfo, request_of

_PAGE = 200
_CHECKED: dict[str, Mark] = {"pass": "good", "warn": "good", "fail": "bad"}
_JUDGED: dict[str, Mark] = {"pass": "good", "fail": "bad", "inconclusive": "skip"}


@dataclass(frozen=True, slots=True)
class BisectionStep:
    """One version and how it was judged.

    Attributes:
        ref: The version.
        mark: `good`, `bad` or `skip`.
        value: What the check measured, or the script's exit code.
        verdict: The verdict's id; empty where there is none.
        source: `cached`, `run`, `script` or `hand`.
        detail: Why it was skipped.
    """

    ref: str
    mark: Mark
    value: float | int | str | None = None
    verdict: str = ""
    source: str = "run"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BisectionCriterion:
    """What makes a version good.

    Attributes:
        suite: The suite that versions are verified with.
        check: The check whose measure counts; empty for the verdict itself.
        least: The lowest value of a good version.
        most: The highest value of a good version. With neither, the check's own outcome counts.
        timeout_s: How long one verification may take.
    """

    suite: str
    check: str = ""
    least: float | None = None
    most: float | None = None
    timeout_s: float = 1800.0

    def mark(self, verdict: VerdictInfo) -> BisectionStep:
        """Judge a version by its verdict."""
        if not self.check:
            return BisectionStep(verdict.ref, _JUDGED[verdict.verdict], verdict.verdict, verdict.id)
        check = next((one for one in verdict.checks if one.name == self.check), None)
        if check is None:
            return BisectionStep(verdict.ref, "skip", None, verdict.id, detail="the check did not run")
        mark, detail = self._of_check(check)
        return BisectionStep(verdict.ref, mark, check.value, verdict.id, detail=detail)

    def _of_check(self, found: CheckResult) -> tuple[Mark, str]:
        if self.least is None and self.most is None:
            mark = _CHECKED.get(found.verdict, "skip")
            return mark, "" if mark != "skip" else found.detail or f"the check is {found.verdict}"
        if not isinstance(found.value, int | float):
            return "skip", found.detail or "the check has no number"
        is_low = self.least is not None and not found.value >= self.least
        is_high = self.most is not None and not found.value <= self.most
        return ("bad" if is_low or is_high else "good"), ""


@dataclass(frozen=True, slots=True)
class BisectReport:
    """What a bisection found.

    Attributes:
        line: The line.
        bounds: The versions between which the change lies.
        steps: Every judged version, in order.
        deleted: Versions between the two that are deleted.
    """

    line: str
    bounds: BisectionBounds
    steps: Sequence[BisectionStep]
    deleted: Sequence[int] = ()

    @property
    def first_bad(self) -> BisectionStep | None:
        """The first bad version; None when only skipped ones are left."""
        return self.step(self.bounds.bad) if self.bounds.is_found else None

    def step(self, number: int) -> BisectionStep:
        """Return how a version was judged."""
        return next(one for one in self.steps if one.ref == f"{self.line}:v{number}")


Judge = Callable[[str], BisectionStep]


@dataclass(frozen=True, slots=True)
class Bisection:
    """Finds the version that made a line bad."""

    context: Context

    def find(self, line: LineRef, *, good: int, bad: int, judge: Judge) -> BisectReport:
        """Find the first bad version of a line between two of its versions.

        Args:
            line: The line.
            good: The number of a good version.
            bad: The number of a later, bad version.
            judge: Judges a version, given its reference.

        Raises:
            InvalidInput: The ends are the wrong way round, or are not good and bad as claimed.
            NotFound: The line has no such version.
            Inconclusive: An end cannot be judged.
        """
        check_order(good, bad)
        numbers = [one.version for one in live_versions(self.context, line, good, bad)]
        for end in (good, bad):
            if end not in numbers:
                raise NotFound(f"there is no {line}:v{end}, or it is deleted", fix=f"deltareg ls {line}")
        steps: list[BisectionStep] = []

        def mark(number: int) -> Mark:
            steps.append(judge(f"{line}:v{number}"))
            return steps[-1].mark

        bounds = bisect(numbers, mark)
        deleted = set(range(bounds.good, bounds.bad)) - set(numbers)
        return BisectReport(str(line), bounds, steps, sorted(deleted))

    def by_suite(self, measure: BisectionCriterion) -> Judge:
        """Return a judge that goes by the verdict that counts, or waits for that of a new run.

        Raises:
            InvalidInput: The suite has no such check.
            NotFound: There is no such suite.
        """
        suite = show_suite(self.context, measure.suite)
        names = [one.name for one in suite.checks]
        if measure.check and measure.check not in names:
            raise InvalidInput(
                f"suite {measure.suite} has no check {measure.check[:80]!r}", fix=f"checks: {', '.join(names)}"
            )

        def judge(ref: str) -> BisectionStep:
            request = request_of(RunCreate, ref=ref, suite=measure.suite)
            run = queue_verification(self.context, request)
            is_cached = run.verdict is not None
            if not is_cached:
                run = follow_run(self.context, run.id, timeout_s=measure.timeout_s)
            return _step(ref, run, measure, source="cached" if is_cached else "run")

        return judge


def _step(ref: str, run: RunInfo, measure: BisectionCriterion, *, source: str) -> BisectionStep:
    if run.verdict is None:
        return BisectionStep(ref, "skip", source=source, detail=run.error or f"the run is {run.state}")
    judgement = measure.mark(run.verdict)
    return BisectionStep(ref, judgement.mark, judgement.value, judgement.verdict, source, judgement.detail)


def live_versions(context: Context, line: LineRef, first: int, last: int) -> list[VersionInfo]:
    """Return the versions of a line between two numbers that are not deleted, in order."""
    newest_first = walk(lambda at: list_versions(context, line, cursor=at, limit=_PAGE))
    since = takewhile(lambda one: one.version >= first, newest_first)
    versions = [one for one in since if one.version <= last and not one.is_deleted]
    return versions[::-1]
