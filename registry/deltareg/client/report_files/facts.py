"""What a report tells, as values: gathered once, written in several forms."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from deltareg.drawing.wording import short
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, GateAnswer, RunInfo, VerdictInfo, VersionDetail, VersionInfo

if TYPE_CHECKING:
    from deltareg.client.results.diff_report import DiffReport

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
    """A check that somebody let pass for a while.

    Attributes:
        what: The check.
        reason: Why.
        until: When it ends, as the server says.
        actor: Who granted it.
    """

    what: str
    reason: str
    until: str
    actor: str


@dataclass(frozen=True, slots=True)
class SuiteOutcome:
    """A suite and what came of it.

    Attributes:
        suite: Its name.
        verdict: The newest one that counts; None when there is none.
        run: The run that was waited for; None when none was.
    """

    suite: str
    verdict: VerdictInfo | None = None
    run: RunInfo | None = None

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
        """Why there is no verdict, as its run says; empty when nothing is known."""
        return (self.run.error or "") if self.run is not None else ""

    @property
    def counted(self) -> str:
        """How many checks came to what, so that a pass hides no warning: `11 pass, 1 warn`."""
        checks = self.verdict.checks if self.verdict is not None else []
        counts = Counter[str](check.verdict for check in checks)
        words = dict.fromkeys((*_OUTCOMES, *counts))
        return ", ".join(f"{counts[word]} {word}" for word in words if counts[word]) or "no checks"

    @property
    def seconds(self) -> float:
        """How long its checks took together."""
        checks = self.verdict.checks if self.verdict is not None else []
        return sum(check.seconds for check in checks)

    @property
    def environment(self) -> list[tuple[str, str]]:
        """What it was judged in, by name."""
        fields = self.verdict.environment if self.verdict is not None else {}
        return [(name, short(value)) for name, value in sorted(fields.items())]

    @property
    def remarks(self) -> list[str]:
        """What each check has to say, after its code; empty for nothing."""
        checks = self.verdict.checks if self.verdict is not None else []
        return [f"{c.code}: {c.detail}" if c.code else c.detail for c in checks]


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """A value that a check gave for one version of a line."""

    version: int
    value: float
    is_this: bool = False


@dataclass(frozen=True, slots=True)
class MetricHistory:
    """What a check measured over the versions of a line, oldest first."""

    suite: str
    check: str
    points: tuple[MetricPoint, ...]
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class ReportComparison:
    """How a version differs from another.

    Attributes:
        what: Words for the other one: `what prod serves`.
        diff: All modules; of a version with itself when there is nothing to compare it with, so
            that the norms of its change are there. None when it could not be made.
        note: Why it was not made, or not against what was meant; empty when all is well.
    """

    what: str = ""
    diff: "DiffReport | None" = None
    note: str = ""

    @property
    def has_other(self) -> bool:
        """Whether there are two versions to tell apart."""
        return self.diff is not None and self.diff.a.ref != self.diff.b.ref


@dataclass(frozen=True, slots=True)
class GateReport:
    """What a gate check, or a verification, came to.

    Attributes:
        version: The version.
        status: The exit status of the command.
        made_at: When the report was made.
        suites: Each suite that was asked for.
        answer: The gate's; None for a verification, which asks no gate.
        base: Its base; None when it cannot be read.
        compared: How it differs from the version that it would replace.
        history: Metrics over the versions of its line.
        waivers: What was let pass.
    """

    version: VersionDetail
    status: int
    made_at: datetime
    suites: Sequence[SuiteOutcome] = ()
    answer: GateAnswer | None = None
    base: BaseInfo | None = None
    compared: ReportComparison = ReportComparison()
    history: Sequence[MetricHistory] = ()
    waivers: Sequence[ReportWaiver] = ()

    @property
    def standing(self) -> Standing:
        """How it stands, in a word."""
        return STANDINGS.get(self.status, "pending")

    @property
    def line(self) -> str:
        """The version's line, `ns/name`."""
        return str(Ref.parse(self.version.ref).line)

    @property
    def subject(self) -> str:
        """What was asked for: `ns/name@prod`, or `ns/name` with the suite."""
        if self.answer is not None:
            return f"{self.line}@{self.answer.channel}"
        return f"{self.line} {' '.join(judged.suite for judged in self.suites)}".rstrip()


def told_signers(version: VersionInfo) -> list[str]:
    """Name who signed a version's files; what a revoked signer signed counts for nothing."""
    return [f"{info.signed_by} (revoked)" if info.revoked else info.signed_by for info in version.signatures]
