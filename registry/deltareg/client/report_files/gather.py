"""Gathers the content of a report from the registry; what only some forms need, on demand."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from deltareg.client.client import Client
from deltareg.client.report_files.facts import (
    GateReport,
    MetricHistory,
    MetricPoint,
    ReportComparison,
    ReportWaiver,
    SuiteOutcome,
)
from deltareg.errors import DeltaregError
from deltareg.wire import ChannelInfo, CheckResult, GateAnswer, RunInfo, VerdictInfo, VersionDetail

Found = TypeVar("Found")
VERSIONS_BACK = 20
_VERDICTS = 50
_ALL_MODULES = 100_000


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What a report is to be about.

    Attributes:
        ref: The version.
        now: The time of the report.
        answer: The gate's answer; None for a verification.
        runs: Runs that were waited for, by suite.
        against: The version to compare with; empty for the one that the channel serves.
        has_diff: Whether a form needs the comparison, which reads tensors.
        has_history: Whether a form needs the metrics of earlier versions.
    """

    ref: str
    now: datetime
    answer: GateAnswer | None = None
    runs: Mapping[str, RunInfo] = field(default_factory=dict[str, RunInfo])
    against: str = ""
    has_diff: bool = True
    has_history: bool = True


def gather(client: Client, asked: ReportRequest, *, status: int) -> GateReport:
    """Gather everything for a report; what is unavailable is left out with a note."""
    version = client.show(asked.ref)
    verdicts = client.verdicts.list(version.ref, limit=_VERDICTS).items
    channel, note = _channel(client, asked, version)
    suites = _suites(asked, channel, verdicts)
    base, _ = _try_request(lambda: client.bases.show(version.base.name))
    return GateReport(
        version=version,
        status=status,
        made_at=asked.now,
        suites=suites,
        answer=asked.answer,
        base=base,
        compared=_compare(client, asked, version, channel, note) if asked.has_diff else ReportComparison(),
        history=_history(client, version, suites) if asked.has_history else (),
        waivers=_waivers(suites, "" if asked.answer is None else asked.answer.channel),
    )


def _channel(client: Client, asked: ReportRequest, version: VersionDetail) -> tuple[ChannelInfo | None, str]:
    answer = asked.answer
    if answer is None:
        return None, ""
    line = f"{version.namespace}/{version.name}"
    return _try_request(lambda: client.channels.show(line, answer.channel))


def _suites(asked: ReportRequest, channel: ChannelInfo | None, verdicts: Sequence[VerdictInfo]) -> list[SuiteOutcome]:
    """Return the outcome of every suite that the channel asks for or that was waited for."""
    names = dict.fromkeys([*(channel.suites if channel else ()), *asked.runs])
    outcomes: list[SuiteOutcome] = []
    for suite in names:
        run = asked.runs.get(suite)
        newest = next((v for v in verdicts if v.suite == suite and v.counts), None)
        own = run.verdict if run is not None else None
        outcomes.append(SuiteOutcome(suite, own or newest, run))
    return outcomes


def _compare(
    client: Client, asked: ReportRequest, version: VersionDetail, channel: ChannelInfo | None, note: str
) -> ReportComparison:
    """Compare with the named version, else with the one on the channel, else with itself."""
    if asked.against:
        return _diff(client, asked.against, version.ref, ReportComparison(asked.against))
    if channel is not None and channel.ref is not None:
        return _diff(client, channel.ref, version.ref, ReportComparison(f"what {channel.channel} serves"))
    if channel is not None:
        note = f"{channel.channel} serves nothing yet, so there is nothing to compare with"
    return _diff(client, version.ref, version.ref, ReportComparison(note=note))


def _diff(client: Client, a: str, b: str, words: ReportComparison) -> ReportComparison:
    diff, note = _try_request(lambda: client.diff(a, b, top=_ALL_MODULES))
    if diff is not None and words.what and diff.a.digest == diff.b.digest:
        return ReportComparison(words.what, diff, f"{diff.b.ref} is {words.what} already")
    return ReportComparison(words.what, diff, note or words.note)


def _history(client: Client, version: VersionDetail, suites: Sequence[SuiteOutcome]) -> list[MetricHistory]:
    """Return the measures of the suites' checks over the versions before this one."""
    line = f"{version.namespace}/{version.name}"
    page, _ = _try_request(lambda: client.versions.list(line, limit=VERSIONS_BACK))
    earlier = [v for v in (page.items if page else []) if v.version < version.version]
    by_version: dict[int, Sequence[VerdictInfo]] = {}
    for one in earlier:
        verdicts, _ = _try_request(partial(client.verdicts.list, one.ref, limit=_VERDICTS))
        by_version[one.version] = verdicts.items if verdicts else ()
    return [
        metric
        for judged in suites
        if judged.verdict is not None
        for check in judged.verdict.checks
        if (metric := _metric(judged.verdict, check, version.version, by_version)) is not None
    ]


def _metric(
    verdict: VerdictInfo, check: CheckResult, version: int, told: Mapping[int, Sequence[VerdictInfo]]
) -> MetricHistory | None:
    value = read_number(check.value)
    if value is None or isinstance(check.value, int):  # a count, of tensors and the like
        return None
    points = [MetricPoint(version, value, is_this=True)]
    for number, verdicts in told.items():
        before = _value_of(verdicts, verdict.suite, check.name)
        if before is not None:
            points.append(MetricPoint(number, before))
    points.sort(key=lambda point: point.version)
    return MetricHistory(verdict.suite, check.name, tuple(points), read_number(check.threshold))


def _value_of(verdicts: Iterable[VerdictInfo], suite: str, check: str) -> float | None:
    newest = next((verdict for verdict in verdicts if verdict.suite == suite), None)
    checks = newest.checks if newest is not None else []
    return next((read_number(c.value) for c in checks if c.name == check), None)


def read_number(value: object) -> float | None:
    """Return a value as a number; None for text and for numbers that are not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = float(value)
    return number if abs(number) < float("inf") else None


def _waivers(suites: Iterable[SuiteOutcome], channel: str) -> list[ReportWaiver]:
    """Return the waivers on the verdicts; only those for the channel, if one was asked."""
    return [
        ReportWaiver(waiver.check, waiver.reason, waiver.expires_at, waiver.created_by)
        for judged in suites
        if judged.verdict is not None
        for waiver in judged.verdict.waivers
        if waiver.stands and (not channel or waiver.channel in {"", channel})
    ]


def _try_request(ask: Callable[[], Found]) -> tuple[Found | None, str]:
    """Ask for something that a report can do without; return it, or why it is missing."""
    try:
        return ask(), ""
    except DeltaregError as error:
        return None, error.message
