"""What a report says, as values: gathered once, written in several forms."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from deltareg.drawing.wording import short
from deltareg.refs import Ref

if TYPE_CHECKING:
    from deltareg.client.results.diff_report import DiffReport
    from deltareg.wire import BaseInfo, GateAnswer, RunInfo, VerdictInfo, VersionDetail, VersionInfo

Standing = Literal["allowed", "failed", "pending", "inconclusive", "blocked"]

# By the exit status that the command ends with; a wait that timed out leaves the answer pending.
STANDINGS: dict[int, Standing] = {
    0: "allowed",
    8: "failed",
    9: "pending",
    11: "inconclusive",
    13: "blocked",
    124: "pending",
}
_OUTCOMES = ("fail", "pass", "warn", "skipped", "n/a")  # the order in which they are counted


@dataclass(frozen=True, slots=True)
class ReportWaiver:
    """A failed check that somebody answered for, until a time.

    Attributes:
        what: The check.
        reason: The reason.
        until: When it ends, as the server writes it.
        actor: Who granted it.
    """

    what: str
    reason: str
    until: str
    actor: str


@dataclass(frozen=True, slots=True)
class SuiteOutcome:
    """A suite and its outcome.

    Attributes:
        suite: Its name.
        verdict: The newest verdict that counts; None if there is none.
        run: The run that was waited for; None if there was none.
    """

    suite: str
    verdict: "VerdictInfo | None" = None
    run: "RunInfo | None" = None

    @property
    def word(self) -> str:
        """The verdict, or why there is none: the state of its run, or `missing`."""
        if self.verdict is not None:
            return self.verdict.verdict
        if self.run is None:
            return "missing"
        return "inconclusive" if self.run.is_over else self.run.state

    @property
    def why(self) -> str:
        """Why there is no verdict, as its run says; empty if unknown."""
        return (self.run.error or "") if self.run is not None else ""

    @property
    def counted(self) -> str:
        """How many checks had each outcome, so that a pass hides no warning: `11 pass, 1 warn`."""
        checks = self.verdict.checks if self.verdict is not None else []
        counts = Counter[str](check.verdict for check in checks)
        words = dict.fromkeys((*_OUTCOMES, *counts))
        return ", ".join(f"{counts[word]} {word}" for word in words if counts[word]) or "no checks"

    @property
    def seconds(self) -> float:
        """How long its checks took in total."""
        checks = self.verdict.checks if self.verdict is not None else []
        return sum(check.seconds for check in checks)

    @property
    def environment(self) -> list[tuple[str, str]]:
        """The environment that it was judged in, by name."""
        fields = self.verdict.environment if self.verdict is not None else {}
        return [(name, short(value)) for name, value in sorted(fields.items())]

    @property
    def remarks(self) -> list[str]:
        """What each check says in detail, after its code; empty if nothing."""
        checks = self.verdict.checks if self.verdict is not None else []
        return [f"{c.code}: {c.detail}" if c.code else c.detail for c in checks]


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """A check's value for one version of a line."""

    version: int
    value: float
    is_this: bool = False


@dataclass(frozen=True, slots=True)
class MetricHistory:
    """A check's values over the versions of a line, oldest first."""

    suite: str
    check: str
    points: tuple[MetricPoint, ...]
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class ReportComparison:
    """How a version differs from another one.

    Attributes:
        what: What the other one is called: `what prod serves`.
        diff: The comparison of all modules. If there is nothing to compare with, the version is
            compared with itself, so that the norms of its change are there. None if it failed.
        note: Why it failed, or was made against something else than requested; else empty.
    """

    what: str = ""
    diff: "DiffReport | None" = None
    note: str = ""

    @property
    def has_other(self) -> bool:
        """Whether two different versions are compared."""
        return self.diff is not None and self.diff.a.ref != self.diff.b.ref


@dataclass(frozen=True, slots=True)
class GateReport:
    """The outcome of a gate check or of a verification.

    Attributes:
        version: The version.
        status: The exit status of the command.
        made_at: When the report was made.
        suites: The outcome of each requested suite.
        answer: The gate's answer; None for a verification, which asks no gate.
        base: Its base; None if the caller may not read it.
        compared: How it differs from the version that it would replace.
        history: Metrics over the versions of its line.
        waivers: The waivers that count.
    """

    version: "VersionDetail"
    status: int
    made_at: datetime
    suites: Sequence[SuiteOutcome] = ()
    answer: "GateAnswer | None" = None
    base: "BaseInfo | None" = None
    compared: ReportComparison = ReportComparison()
    history: Sequence[MetricHistory] = ()
    waivers: Sequence[ReportWaiver] = ()

    @property
    def standing(self) -> Standing:
        """How the version stands, in a word."""
        return STANDINGS.get(self.status, "pending")

    @property
    def line(self) -> str:
        """The version's line, `ns/name`."""
        return str(Ref.parse(self.version.ref).line)

    @property
    def subject(self) -> str:
        """What the report is about: `ns/name@prod`, or `ns/name` with the suite."""
        if self.answer is not None:
            return f"{self.line}@{self.answer.channel}"
        return f"{self.line} {' '.join(judged.suite for judged in self.suites)}".rstrip()


def told_signers(version: "VersionInfo") -> list[str]:
    """Return who signed a version's files; revoked signers do not count."""
    return [f"{info.signed_by} (revoked)" if info.revoked else info.signed_by for info in version.signatures]
