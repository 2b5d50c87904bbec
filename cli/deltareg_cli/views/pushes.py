"""What became of a push, or of several: the version, its checks, what was left out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.errors import DeltaregError
from deltareg.wire.interface import SCHEMA_VERSION
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    CommandResult,
    FactsBlock,
    Sentence,
    SentencesBlock,
    TableBlock,
    Text,
)
from deltareg_cli.terminal.wording import clean, count, rate, seconds, size
from deltareg_cli.views.outcomes import outcome_blocks, run_outcome_blocks
from deltareg_cli.views.versions import describe_alike, describe_verdict, describe_version, proof_cell

if TYPE_CHECKING:
    from deltareg.client import PushReport
    from deltareg.client.push.push_several import PushedFolder
    from deltareg.wire import ProofState, RunInfo, VersionInfo


@dataclass(frozen=True, slots=True)
class PushedDetails:
    """What a push says of its version, beside the bytes."""

    semver: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    message: str = ""


NOTHING_SAID = PushedDetails()


def told_of_push(invocation: Invocation, report: "PushReport") -> None:
    """Note the files that a push left out, what is odd about it or its base, and what has the same weights."""
    if report.left_out:
        invocation.output.note(clean(_left_out(report.left_out)))
    for note in report.notes:
        invocation.output.note(clean(note))
    for problem in report.warnings:
        invocation.output.note(f"warning: {problem.code}: {clean(problem.message)}")
    if report.version.alike:
        invocation.output.note(clean(describe_alike(report.version.alike)))


def show_several(invocation: Invocation, paths: Sequence[Path], pushed: "Iterable[PushedFolder]") -> None:
    """Push folders and show each as a row; of one that is refused, say which it is."""
    columns = [Column("version"), Column("folder"), Column("sent", is_number=True), Column("state")]
    rows: list[list[Text]] = []
    reports: list[PushReport] = []
    try:
        for each in pushed:
            told_of_push(invocation, each.report)
            reports.append(each.report)
            ref, sent = each.report.version.ref, size(each.report.uploaded_bytes)
            rows.append([Cell(ref, "name"), clean(str(each.path)), sent, _before(each.report) or "new"])
    except DeltaregError:
        pushed_before = count(len(reports), "folder")
        invocation.output.note(f"{clean(str(paths[len(reports)]))} was not pushed, {pushed_before} before it")
        raise
    document = {"schema_version": SCHEMA_VERSION, "pushed": [report.to_dict() for report in reports]}
    table = TableBlock(columns, rows, if_empty="")
    invocation.output.show(CommandResult(document, [table], [report.version.ref for report in reports]))


def push_answer(
    report: "PushReport",
    run: "RunInfo | None",
    *,
    now: datetime,
    waits: str = "",
    proof: "ProofState | None" = None,
    said: PushedDetails = NOTHING_SAID,
) -> CommandResult:
    """Show the version in a line, then the result of its checks or how to wait for them."""
    version = report.version
    document = dict(report.to_dict())
    if proof is not None:
        document["proof"] = proof
    if run is not None:
        document["run"] = run.id
        document["verdict"] = run.verdict.verdict if run.verdict else None
    facts = FactsBlock(
        [
            ("sent", _describe_upload(report)),
            ("bytes", proof_cell(proof) if proof is not None else ""),
            ("golden outputs", _golden(report)),
            ("digest", version.digest),
        ]
    )
    before = _before(report)
    if before:
        before += _describe_given(said, report.version)
    described = f"{before}: {describe_version(version)}" if before else describe_version(version)
    if report.signature:
        described += f", signed by {report.signature.signed_by}"
    if version.base_claim:
        described += f"; its files say it was trained on {version.base_claim}"
    head = SentencesBlock([Sentence(described, Cell(version.ref, "name"))], gap=2)
    return CommandResult(document, [head, *_check_state(run, version, waits, now=now)], [version.ref], [facts])


def _check_state(run: "RunInfo | None", version: "VersionInfo", waits: str, *, now: datetime) -> list[Block]:
    """Show the result of the checks, or how to wait for them."""
    if run is not None and run.verdict is not None:
        return outcome_blocks(
            run.verdict, now=now, next_step=f"promote it: deltareg promote {version.ref} --channel prod"
        )
    if run is not None:
        return run_outcome_blocks(run)
    if version.verdict:  # one that was there already may have been judged
        return [SentencesBlock([Sentence(describe_verdict(version))])]
    if waits:
        return [SentencesBlock([Sentence(waits, Cell("not checked:", "warn"))])]
    return [SentencesBlock([Sentence(f"its checks are queued; wait for them: deltareg verify {version.ref} --wait")])]


def _before(report: "PushReport") -> str:
    """Describe whether the version existed before, or had damaged bytes that this push has healed."""
    if report.created:
        return ""
    return "was there, its bytes were sent again" if report.uploaded_bytes else "was there already"


def _describe_given(said: PushedDetails, version: "VersionInfo") -> str:
    """Describe what a push of bytes that were there gave their version."""
    labels = [f"{key}={value}" if value else key for key, value in said.labels.items()]
    given = [
        f"the semver {said.semver}" if said.semver else "",
        f"the {'labels' if len(labels) > 1 else 'label'} {', '.join(labels)}" if labels else "",
        "the message" if said.message and said.message == version.message else "",
    ]
    has = ", ".join(filter(None, given))
    stays = "; its message stays" if said.message and said.message != version.message else ""
    return f"{', and has ' + has + ' now' if has else ''}{stays}"


def _golden(report: "PushReport") -> Cell:
    """Describe where the golden outputs come from, or why there are none."""
    if report.golden or not report.golden_missing:
        return Cell(report.golden)
    fix = "record them where it was trained, see: deltareg golden --help"
    return Cell(f"none: {report.golden_missing}; {fix}", "dim")


def _describe_upload(report: "PushReport") -> str:
    if not report.uploaded_bytes:
        return f"nothing, the registry had all of it; {seconds(report.seconds)}"
    speed = rate(report.uploaded_bytes, report.seconds)
    return f"{size(report.uploaded_bytes)} in {seconds(report.seconds)} ({speed})"


def _left_out(entries: Sequence[str]) -> str:
    """Format in one line which files were left out, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for entry in entries:
        name, _, reason = entry.removesuffix(")").rpartition(" (")
        by_reason.setdefault(reason, []).append(name)
    parts = [f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()]
    return f"left out, {count(len(entries), 'file')}: {'; '.join(parts)}"
