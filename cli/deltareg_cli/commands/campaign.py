"""`deltareg campaign`: all deltas of a base, and what becomes of them on another."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg_cli.blocks import Answer, Block, Cell, Column, Facts, Lines, Table, Text, Title, Tone
from deltareg_cli.command_tree import Place, command
from deltareg_cli.commands.card import put_card
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import option
from deltareg_cli.wording import count

if TYPE_CHECKING:
    from deltareg.client.compare.campaign import CampaignReport, Outcome

PLACE = Place("Bases", 20)

_TONES: "dict[Outcome, Tone]" = {"done": "good", "verify": "name", "merge": "warn",
                                 "retrain": "bad", "unread": "bad"}  # fmt: skip
_NEXT: "dict[Outcome, str]" = {
    "verify": "push the same files onto {new}, and promote what its verdict lets through:"
    " deltareg pull REF --to DIR; deltareg push DIR NS/NAME --base {new}",
    "merge": "push what it changed, not its values, as a task vector: a folder of its values less"
    " those of {old}",
    "retrain": "train it anew on {new}; deltareg show REF has what it was made by",
}


@command(
    "campaign",
    Example("what stands on the old base", "deltareg campaign llama-3.1-8b llama-3.3-8b"),
    Example(
        "as an issue for a team",
        "deltareg campaign llama-3.1-8b llama-3.3-8b --in team --report-md campaign.md",
    ),
    see_also=("base", "search", "verify", "merge"),
)
@click.argument("old", help="The base that they stand on.")
@click.argument("new", help="The base that is to take its place.")
@option(
    "--in", "within", metavar="NS | NS/NAME", default="", help="Only in this namespace or line."
)
@option(
    "--report-md", "markdown", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="Also write it as Markdown.",
)  # fmt: skip
@click.pass_obj
def campaign(
    invocation: Invocation, old: str, new: str, *, within: str, markdown: Path | None
) -> None:
    """List what stands on a base, and what becomes of it on another.

    Of each line that you may read the version counts that prod serves, or another channel, or else
    the newest on OLD. The server holds it against NEW as a push would, by names and shapes: verify
    says that all of it has its place there as it is, merge that its values are whole ones and would
    undo what NEW changed, retrain that it has not, and why. A line that has a version on NEW is
    done. Nothing is changed; that a delta does on NEW what it did is for a verification to show.
    """
    report = invocation.client.bases.campaign(old, new, within=within)
    if markdown is not None:
        put_card(report.to_markdown(), markdown)
    ids = [line.ref for line in report.lines if line.outcome != "done"]
    invocation.output.show(Answer(report.to_dict(), _blocks(report), ids))


def _blocks(report: "CampaignReport") -> list[Block]:
    counts = ", ".join(f"{number} {name}" for name, number in report.counts.items() if number)
    columns = [
        Column("to do"), Column("version"), Column("served by"), Column("kind"),
        Column("weights changed"), Column("why", is_prose=True),
    ]  # fmt: skip
    rows: list[list[Text]] = [
        [
            Cell(line.outcome, _TONES[line.outcome]),
            Cell(line.ref, "name"),
            ", ".join(line.channels) or Cell("-", "dim"),
            line.kind,
            f"{line.changed} of {line.weights}" if line.weights else Cell("-", "dim"),
            "; ".join(line.reasons),
        ]
        for line in report.lines
    ]
    found = {line.outcome for line in report.lines}
    steps: list[Sequence[Text]] = [
        [Cell(name, _TONES[name]), text.format(old=report.old, new=report.new)]
        for name, text in _NEXT.items() if name in found
    ]  # fmt: skip
    blocks: list[Block] = [
        Title(f"{report.old} -> {report.new}", count(len(report.lines), "line")),
        Facts([("differ in", ", ".join(report.parts) or "nothing"), ("to do", counts)]),
        Table(columns, rows, if_empty=f"nothing that you may read stands on {report.old}"),
    ]
    return [*blocks, Title("How"), Lines(steps)] if steps else blocks
