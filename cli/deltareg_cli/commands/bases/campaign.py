"""`deltareg campaign`: all deltas of a base, and what becomes of them on another."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput
from deltareg_cli.commands.deltas.card import put_card
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    CommandResult,
    FactsBlock,
    LinesBlock,
    TableBlock,
    Text,
    TitleBlock,
    Tone,
)
from deltareg_cli.terminal.wording import count
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client.campaign.campaign import CampaignLine, CampaignReport, Outcome
    from deltareg.client.campaign.campaign_start import CampaignStart

ORDER = 20

_TONES: "dict[Outcome, Tone]" = {"done": "good", "verify": "name", "merge": "warn", "retrain": "bad", "unread": "bad"}
_NEXT: "dict[Outcome, str]" = {
    "done": "promote what its verdict lets through: deltareg promote REF --channel prod --new-base",
    "verify": "push the same files onto {new}, which has them verified: deltareg campaign {old} {new} --start",
    "merge": "push what it changed, not its values, as a task vector: a folder of its values less those of {old}",
    "retrain": "train it anew on {new}; deltareg show REF has what it was made by",
}


@command(
    "campaign",
    Example("what stands on the old base", "deltareg campaign llama-3.1-8b llama-3.3-8b"),
    Example("as an issue for a team", "deltareg campaign llama-3.1-8b llama-3.3-8b --in team --report-md campaign.md"),
    Example("begin with ten of what fits as it is", "deltareg campaign llama-3.1-8b llama-3.3-8b --start --limit 10"),
    see_also=("base", "search", "verify", "merge"),
)
@click.argument("old", help="The base that they stand on.")
@click.argument("new", help="The base that is to take its place.")
@option("--in", "within", metavar="NS | NS/NAME", default="", help="Only in this namespace or line.")
@option(
    "--report-md",
    "markdown",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write it as Markdown.",
)
@option("--start", "is_start", is_flag=True, help="Push what fits as it is onto NEW, which queues its verification.")
@option("--limit", type=click.IntRange(min=1), help="Start so many lines at most.")
@option("--dry-run", "is_dry_run", is_flag=True, help="Say what --start would push.")
@click.pass_obj
def campaign(
    invocation: Invocation,
    old: str,
    new: str,
    *,
    within: str,
    markdown: Path | None,
    is_start: bool,
    limit: int | None,
    is_dry_run: bool,
) -> ExitStatus:
    """List what stands on a base, and what becomes of it on another.

    Of each line that you may read the version counts that prod serves, or another channel, or else
    the newest on OLD. The server holds it against NEW as a push would, by names and shapes: verify
    says that all of it has its place there as it is, merge that its values are whole ones and would
    undo what NEW changed, retrain that it has not, and why. A line that has a version on NEW is
    done, and its verdict there stands beside it.

    With --start what is to be verified is pushed onto NEW as it is, without golden outputs of OLD,
    as a child of the version that it was; those that channels serve come first. Each push queues a
    verification. No channel moves. Called again it goes on with what is left. The exit status is 2
    when one could not be pushed; the others are all the same.
    """
    if not is_start and (limit is not None or is_dry_run):
        raise InvalidInput("--limit and --dry-run are of --start", fix="add --start")
    bases, begun = invocation.client.bases, None
    if is_start:
        begun = bases.start_campaign(
            old, new, within=within, limit=limit, is_dry_run=is_dry_run, tell=invocation.output.note
        )
    report = bases.campaign(old, new, within=within) if begun is None else begun.report
    if markdown is not None:
        put_card(report.to_markdown(), markdown)
    ids = [line.ref for line in report.lines if line.outcome != "done"]
    report_shown = report if begun is None else begun
    blocks = [*([] if begun is None else _describe_start(begun)), *_blocks(report)]
    invocation.output.show(CommandResult(report_shown.to_dict(), blocks, ids))
    return ExitStatus.INVALID if begun is not None and begun.failed else ExitStatus.DONE


def _describe_start(start: "CampaignStart") -> list[Block]:
    failed = {line.line for line in start.failed}
    word = "would be pushed" if start.is_dry_run else "pushed, and to be verified"
    facts = [
        (word, _names([line for line in start.begun if line.line not in failed])),
        ("left", count(start.left, "line") if start.left else ""),
    ]
    lines: list[Sequence[Text]] = [[Cell(line.ref, "bad"), "; ".join(line.reasons)] for line in start.failed]
    return [TitleBlock("Start"), FactsBlock(facts), *([LinesBlock(lines)] if lines else [])]


def _names(lines: "Sequence[CampaignLine]") -> str:
    return ", ".join(line.ref for line in lines) or "nothing"


def _blocks(report: "CampaignReport") -> list[Block]:
    from deltareg.client.campaign.campaign import describe_line  # what `--help` need not load

    counts = ", ".join(f"{number} {name}" for name, number in report.counts.items() if number)
    columns = [
        Column("to do"),
        Column("version"),
        Column("served by"),
        Column("kind"),
        Column("weights changed"),
        Column("why, or what became of it", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(line.outcome, _TONES[line.outcome]),
            Cell(line.ref, "name"),
            ", ".join(line.channels) or Cell("-", "dim"),
            line.kind,
            f"{line.changed} of {line.weights}" if line.weights else Cell("-", "dim"),
            describe_line(line),
        ]
        for line in report.lines
    ]
    outcomes = {line.outcome for line in report.lines}
    steps: list[Sequence[Text]] = [
        [Cell(name, _TONES[name]), text.format(old=report.old, new=report.new)]
        for name, text in _NEXT.items()
        if name in outcomes
    ]
    blocks: list[Block] = [
        TitleBlock(f"{report.old} -> {report.new}", count(len(report.lines), "line")),
        FactsBlock([("differ in", ", ".join(report.parts) or "nothing"), ("to do", counts)]),
        TableBlock(columns, rows, if_empty=f"nothing that you may read stands on {report.old}"),
    ]
    return [*blocks, TitleBlock("How"), LinesBlock(steps)] if steps else blocks
