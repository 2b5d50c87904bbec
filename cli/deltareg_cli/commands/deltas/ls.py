"""`deltareg ls`: lines, or the versions of one line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput, NotFound
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, label_filter_option, limit_option, option
from deltareg_cli.terminal.blocks import Cell, Column, CommandResult, TableBlock, Text, tone_word
from deltareg_cli.terminal.documents import page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.versions import NO_VERSIONS, kind_of, verdict_of, version_table

if TYPE_CHECKING:
    from deltareg.wire import LineInfo

ORDER = 80

NO_LINES = "no deltas yet: deltareg push PATH NS/NAME --base REF"


@command(
    "ls",
    Example("every line that you may see", "deltareg ls"),
    Example("the lines of a namespace", "deltareg ls me"),
    Example("the versions of a line", "deltareg ls me/chat"),
    Example("the versions of a line with a label", "deltareg ls me/chat --label tested=yes"),
    Example("lines on one base whose newest version passed", "deltareg ls --filter base=llama-3.1-8b,verdict=pass"),
    see_also=("show", "search", "label", "log", "channel"),
)
@click.argument("name", metavar="[NS | NS/NAME]", required=False, help="What to list.")
@option(
    "--filter",
    "filters",
    metavar="KEY=VALUE,…",
    default="",
    help="Only lines that match: base, kind, verdict, channel, label.KEY.",
)
@label_filter_option()
@limit_option()
@cursor_option()
@click.pass_obj
def ls(
    invocation: Invocation,
    name: str | None,
    *,
    filters: str,
    labels: dict[str, str | None],
    limit: int,
    cursor: str | None,
) -> None:
    """List lines, or the versions of one line.

    Lines come by name, versions newest first. What is asked of lines is asked of the newest version
    of each.
    """
    if name and "/" in name:
        if filters:
            problem = "--filter is for lines; the versions of one are chosen by --label"
            raise InvalidInput(problem, fix=f"deltareg search --in {name} --help")
        versions = invocation.client.versions.list(name, labels=labels, cursor=cursor, limit=limit)
        if_empty = "no version has these labels" if labels else NO_VERSIONS
        table = version_table(versions.items, now=invocation.now, if_empty=if_empty)
        ids = [version.ref for version in versions.items]
        invocation.output.show(CommandResult(page_fields(versions), [table], ids))
        note_more(invocation.output, versions.next_cursor)
        return
    lines = invocation.client.lines.list(
        name, filters=_parse_filters(filters), labels=labels, cursor=cursor, limit=limit
    )
    is_whole = not (filters or labels)
    if name and not (lines.items or cursor):
        _check_namespace(invocation, name, is_whole=is_whole)
    ids = [line.ref for line in lines.items]
    if_empty = NO_LINES if is_whole else "no line matches"
    table = line_table(lines.items, if_empty=if_empty)
    invocation.output.show(CommandResult(page_fields(lines), [table], ids))
    note_more(invocation.output, lines.next_cursor)


def _check_namespace(invocation: Invocation, name: str, *, is_whole: bool) -> None:
    """Check that a namespace with an empty list exists.

    Raises:
        NotFound: It does not exist.
    """
    if is_whole or not invocation.client.lines.list(name, limit=1).items:
        raise NotFound(f"there is no namespace {name}", fix="deltareg ls")


def line_table(lines: Sequence["LineInfo"], *, if_empty: str = NO_LINES) -> TableBlock:
    """Build the table of lines: what their newest version is, and what their channels serve."""
    columns = [
        Column("line"),
        Column("versions", is_number=True),
        Column("newest"),
        Column("base"),
        Column("verdict"),
        Column("channels", is_prose=True),
    ]
    rows: list[list[Text]] = []
    for line in lines:
        newest = line.newest
        rows.append(
            [
                Cell(line.ref, "name"),
                str(line.versions),
                f"v{newest.version} {kind_of(newest)}" if newest else "-",
                newest.base.name if newest else "-",
                verdict_of(newest) if newest else tone_word(None),
                ", ".join(_serves(line, name) for name in line.channels),
            ]
        )
    return TableBlock(columns, rows, if_empty=if_empty)


def _serves(line: "LineInfo", channel: str) -> str:
    frozen = " (frozen)" if channel in line.frozen else ""
    return f"{channel} v{line.channels[channel]}{frozen}"


def _parse_filters(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = next((key for key, equals, value in pairs if not (equals and value)), None)
    if wrong is not None:
        raise InvalidInput(f"not a filter: {wrong[:60]!r}", fix="write base=NAME,verdict=pass")
    return {key.strip(): value.strip() for key, _, value in pairs}
