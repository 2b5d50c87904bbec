"""`deltareg outdated`: pulled folders beside what their lines have now."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import ChannelParam, option
from deltareg_cli.terminal.blocks import Cell, Column, CommandResult, TableBlock, Text, Tone
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.revocations import warn

if TYPE_CHECKING:
    from deltareg.client.results.lock_reports import OutdatedReport, Standing
    from deltareg.wire import Deprecation

ORDER = 62

_TONES: "dict[Standing, Tone]" = {
    "current": "good",
    "ahead": "name",
    "behind": "warn",
    "superseded": "warn",
    "revoked": "bad",
    "corrupt": "bad",
    "gone": "bad",
}


@command(
    "outdated",
    Example("the folders here", "deltareg outdated"),
    Example("some folders, by what staging serves", "deltareg outdated ./chat --channel staging"),
    Example("what a lock file names; ends with 10 in CI", "deltareg outdated delta.lock"),
    see_also=("update", "lock", "pull", "help exit-codes"),
)
@click.argument(
    "paths",
    metavar="[DIR | LOCKFILE]...",
    nargs=-1,
    type=click.Path(path_type=Path),
    help="Folders that something was pulled to; without any, delta.lock or the folders here.",
)
@option(
    "--channel",
    type=ChannelParam(),
    default="prod",
    show_default=True,
    help="Whose version counts; where it serves none, the newest of the line does.",
)
@click.pass_obj
def show_outdated(invocation: Invocation, paths: tuple[Path, ...], *, channel: str) -> ExitStatus:
    """Say which pulled folders are behind, revoked or gone.

    A folder is behind where the channel serves a later version, and superseded where the channel
    serves none and the line has a later one. What a rollback left is ahead, which is fine. Nothing
    is fetched, and no file is read. Exit status: 0 nothing to do, 10 something is behind,
    superseded, revoked, corrupt or gone.
    """
    report = invocation.client.folders.list_outdated(*paths, channel=channel)
    for each in report.folders:
        warn(invocation, each.ref, each.revocation, each.deprecation)
    ids = [str(each.folder) for each in report.folders if not each.is_fine]
    invocation.output.show(CommandResult(report.to_dict(), [_table(report)], ids))
    return ExitStatus.DONE if report.is_fine else ExitStatus.DIFFERENT


def _table(report: "OutdatedReport") -> TableBlock:
    columns = [
        Column("folder"),
        Column("holds"),
        Column("standing"),
        Column(report.channel, is_name=True),
        Column("newest"),
    ]
    rows: list[list[Text]] = [
        [
            Cell(str(each.folder), "name"),
            each.ref,
            Cell(each.standing, _TONES[each.standing]),
            _number(each.served),
            _number(each.newest) if each.deprecation is None else _instead(each.deprecation),
        ]
        for each in report.folders
    ]
    return TableBlock(columns, rows, if_empty="nothing was pulled to here: deltareg pull REF --to DIR")


def _number(ref: str) -> Text:
    return ref.rpartition(":")[2] if ref else Cell("-", "dim")


def _instead(deprecation: "Deprecation") -> Text:
    return Cell(f"use {deprecation.successor}" if deprecation.successor else "deprecated", "warn")
