"""`deltareg fsck`: is everything there that the database says, and what heals what is not?"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from deltareg.errors import WaitTimeout
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, timeout_option
from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    CommandResult,
    FactsBlock,
    LinesBlock,
    TableBlock,
    Text,
    Tone,
)
from deltareg_cli.terminal.documents import fields
from deltareg_cli.terminal.wording import count, size
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.wire import CheckInfo, FsckReport

ORDER = 40

_POLL_S = 1.0
_LOSSES = frozenset({"missing", "size", "data", "bad", "manifest", "map"})
"""Findings that are bytes which are gone or changed; a wrong count, mark or reference is a row."""
_TONES: Mapping[str, Tone] = {"healed": "good", "push": "bad", "": "dim"}


class _Asked(TypedDict):
    """The options of one call."""

    read_data: bool
    repair: bool
    pieces: bool
    share: float
    check: str
    wait: bool
    timeout: float


@command(
    "fsck",
    Example("is every pack there, with its size?", "deltareg fsck"),
    Example("read all of it and check every digest", "deltareg fsck --read-data"),
    Example("have workers decode a tenth of it", "deltareg fsck --pieces --share 0.1 --wait"),
    Example("heal what can be healed, name the rest", "deltareg fsck --read-data --repair"),
    see_also=("prove", "storage", "gc", "server check"),
)
@option("--read-data", is_flag=True, help="Read every byte and check every digest.")
@option("--repair", is_flag=True, help="Heal what can be healed, and say what to push again.")
@option("--pieces", is_flag=True, help="Have workers decode and hash what is stored, as runs.")
@option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="With --pieces: how much of it, drawn at random.",
)
@option("--check", metavar="ID", default="", help="Go on with a check of pieces, or look at it.")
@option("--wait", is_flag=True, help="With --pieces: wait until all of it was looked at.")
@timeout_option()
@click.pass_obj
def fsck(invocation: Invocation, **asked: Unpack[_Asked]) -> ExitStatus:
    """Compare the store with the database.

    The first line says whether data is lost, rows are wrong, or only leftovers are there. The exit
    status is 6 if data is lost or rows are wrong; leftovers, objects in the store that no row names,
    harm nothing. Without --repair nothing is changed.

    --repair restores rows from other rows, and packs from copies of their bytes in the store or in
    the server's second store. A pack without a copy is marked as damaged. A version that needs it is
    served in a former form, if one is kept; otherwise it is refused until its folder is pushed
    again. The command lists these pushes and who can make them; such a push keeps the version's
    number. The exit status is 0 when nothing is left to push.

    --pieces decodes every tensor and compares its digest, which also finds bytes that were never
    right. Each version and base is a run with the lowest priority; --check ID continues an
    interrupted check.
    """
    if asked["pieces"] or asked["check"]:
        return _pieces(invocation, asked)
    read_data, repair = asked["read_data"], asked["repair"]
    report = invocation.client.storage.fsck(read_data=read_data, repair=repair)
    ids = [item.subject for item in report.findings]
    document = fields(report, "findings", *(("repaired", "to_push") if repair else ()))
    invocation.output.show(CommandResult(document, [*_describe_findings(report), *_to_push(report)], ids))
    if report.repaired:
        return ExitStatus.INTEGRITY if report.to_push else ExitStatus.DONE
    return ExitStatus.INTEGRITY if _harmful(report) else ExitStatus.DONE


def _count_lost(report: "FsckReport") -> int:
    """Count the findings that are lost or changed bytes, and stay lost unless somebody has them."""
    return sum(item.kind in _LOSSES and item.outcome != "healed" for item in report.findings)


def _harmful(report: "FsckReport") -> int:
    """Count the findings that are loss, or wrong rows; an object that no row names stops nobody."""
    return sum(item.kind != "orphan" and item.outcome != "healed" for item in report.findings)


def _pieces(invocation: Invocation, asked: _Asked) -> ExitStatus:
    storage = invocation.client.storage
    progress = storage.check_pieces(share=asked["share"], check=asked["check"])
    deadline = time.monotonic() + asked["timeout"]
    while asked["wait"] and progress.waiting and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        before, progress = progress, storage.show_check(progress.id)
        if progress.waiting != before.waiting:
            checked = progress.total - progress.waiting
            invocation.output.note(f"{checked} of {progress.total} looked at, {progress.corrupt} corrupt")
    document = fields(progress, "id", "total", "proven", "corrupt", "waiting", "unknown", "to_push")
    facts = FactsBlock(
        [
            ("check", progress.id),
            ("looked at", f"{progress.total - progress.waiting:,} of {progress.total:,}"),
            ("proven", f"{progress.proven:,}"),
            ("corrupt", Cell(f"{progress.corrupt:,}", "bad" if progress.corrupt else "")),
            ("unknown", f"{progress.unknown:,}" if progress.unknown else ""),
        ]
    )
    invocation.output.show(CommandResult(document, [facts, *_to_push(progress)], [progress.id]))
    if asked["wait"] and progress.waiting:
        raise WaitTimeout(
            f"{progress.waiting} runs of the check are not done; they go on",
            fix=f"look again: deltareg fsck --check {progress.id} --wait",
        )
    return ExitStatus.INTEGRITY if progress.corrupt else ExitStatus.DONE


def _describe_findings(report: "FsckReport") -> list[Block]:
    how = "read and checked" if report.read_data else "looked up"
    scope = f"{count(report.packs, 'pack')}, {size(report.bytes)}, {how}:"
    orphans = sum(item.kind == "orphan" for item in report.findings)
    healed = sum(item.outcome == "healed" for item in report.findings)
    extra = f"; {healed} healed" if healed else ""
    extra += f"; {count(orphans, 'leftover')} that no row names" if orphans else ""
    rows_wrong = _harmful(report) - _count_lost(report)
    outcome = Cell(f"no data is lost{extra}" if extra else "all good", "good")
    if _count_lost(report):
        outcome = Cell(f"data is LOST or damaged: {count(_count_lost(report), 'finding')}{extra}", "bad")
    elif rows_wrong:
        outcome = Cell(f"no data is lost; {count(rows_wrong, 'row')} WRONG: fsck --repair{extra}", "bad")
    blocks: list[Block] = [LinesBlock([[scope, outcome]])]
    if report.findings:
        rows: list[list[Text]] = [
            [
                Cell(item.kind, _TONES.get(item.outcome, "bad") if item.kind != "orphan" else "dim"),
                item.subject,
                *([Cell(item.outcome or "kept", _TONES[item.outcome])] if report.repaired else []),
                item.detail,
            ]
            for item in report.findings
        ]
        columns = ["kind", "subject", *(["outcome"] if report.repaired else [])]
        prose = Column("detail", is_prose=True)
        blocks.append(TableBlock([*(Column(name) for name in columns), prose], rows))
    return blocks


def _to_push(report: "FsckReport | CheckInfo") -> list[Block]:
    if not report.to_push:
        return []
    rows: list[list[Text]] = [[Cell(one.subject, "name"), one.sent_by, one.fix] for one in report.to_push]
    columns = [Column("to be pushed again"), Column("sent by"), Column("with", is_prose=True)]
    return [TableBlock(columns, rows)]
