"""`deltareg log`: what happened to a line."""

from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import ChannelParam, cursor_option, limit_option, option
from deltareg_cli.terminal.blocks import Cell, Column, CommandResult, TableBlock, Text, tone_word
from deltareg_cli.terminal.documents import page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.terminal.wording import moment
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.wire import LogEntry

ORDER = 90


@command(
    "log",
    Example("everything that happened to a line", "deltareg log me/chat"),
    Example("what happened to one channel", "deltareg log me/chat --channel prod"),
    see_also=("show", "channel", "audit"),
)
@click.argument("line", metavar="NS/NAME", help="The line.")
@option("--channel", type=ChannelParam(), help="Only what happened to this channel.")
@limit_option()
@cursor_option()
@click.pass_obj
def log(invocation: Invocation, line: str, *, channel: str | None, limit: int, cursor: str | None) -> None:
    """Show what happened to a line, newest first.

    All that is recorded of it, with who did it and why: pushes, verdicts, moves, freezes, revocations;
    labels, semvers and messages; deprecations, deletions, what was restored; names that it, its
    namespace or a channel had; channels and their policies; what was signed.
    """
    page = invocation.client.lines.log(line, channel=channel, cursor=cursor, limit=limit)
    columns = [
        Column("when"),
        Column("event"),
        Column("ref"),
        Column("channel"),
        Column("by"),
        Column("text", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            moment(entry.at, now=invocation.now),
            _event(entry),
            Cell(entry.ref, "name"),
            entry.channel or "",
            entry.actor,
            entry.text,
        ]
        for entry in page.items
    ]
    table = TableBlock(columns, rows, if_empty="nothing has happened yet")
    ids = [entry.ref for entry in page.items]
    invocation.output.show(CommandResult(page_fields(page), [table], ids))
    note_more(invocation.output, page.next_cursor)


def _event(entry: "LogEntry") -> Cell:
    if entry.event != "verdict":
        return tone_word(entry.event)
    return Cell(f"verdict {entry.outcome}", tone_word(entry.outcome).tone)
