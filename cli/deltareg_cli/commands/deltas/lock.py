"""`deltareg lock`: write down which version stands in which folder."""

from pathlib import Path

import click

from deltareg.client.config import LOCK_FILE
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Cell, Column, CommandResult, TableBlock, Text
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

ORDER = 64


@command(
    "lock",
    Example("what prod serves now, in a folder", "deltareg lock me/chat@prod models/chat"),
    Example("what all that is locked means now", "deltareg lock"),
    Example("a folder no more", "deltareg lock --drop models/chat"),
    see_also=("sync", "outdated", "pull", "help references"),
)
@click.argument("ref", metavar="[REF]", required=False, help="A version; a bare NS/NAME is @prod.")
@click.argument("folder", metavar="[DIR]", required=False, help="Where it is to stand.")
@option("--drop", multiple=True, metavar="DIR", help="Lock this folder no more; may be repeated.")
@option("--include", multiple=True, metavar="GLOB", help="Only files like this, as in pull; may be repeated.")
@option(
    "--file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=LOCK_FILE,
    show_default=True,
    help="The lock file; folders are below its own.",
)
@click.pass_obj
def lock(
    invocation: Invocation,
    ref: str | None,
    folder: str | None,
    *,
    drop: tuple[str, ...],
    include: tuple[str, ...],
    file: Path,
) -> None:
    """Write into delta.lock which version stands in which folder.

    The file names each version by its digest, and the base that it is for by its identity and the
    digests of its parts: tokenizer, chat template, config. It belongs into version control: a new
    version is a change of two lines. With REF and DIR that one is locked, and all others stay as
    they are; alone, each reference of the file is looked up again. Nothing is fetched:
    deltareg sync makes the folders.
    """
    if (ref is None) != (folder is None):
        raise click.UsageError("name the version and its folder: deltareg lock REF DIR")
    if include and ref is None:
        raise click.UsageError("--include is of a version in a folder: deltareg lock REF DIR --include GLOB")
    add = [(ref, folder)] if ref is not None and folder is not None else []
    report = invocation.client.folders.lock(file, add=add, drop=drop, include=include)
    columns = [Column("folder"), Column("asked"), Column("locked"), Column("was")]
    rows: list[list[Text]] = [
        [Cell(each.folder, "name"), each.asked, each.ref, _before(each.was, each.ref)] for each in report.folders
    ]
    table = TableBlock(columns, rows, if_empty="nothing is locked: deltareg lock NS/NAME@prod DIR")
    invocation.output.show(CommandResult(report.to_dict(), [table], [each.ref for each in report.folders]))
    if not report.is_changed:
        invocation.output.note(f"{file} says so already")


def _before(was: str, now: str) -> Text:
    if was == now:
        return Cell("the same", "dim")
    return was.rpartition(":")[2] if was else Cell("new", "good")
