"""`deltareg sync`: make folders what delta.lock says."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.client.config import LOCK_FILE
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Cell, Column, CommandResult, TableBlock, Text, Tone
from deltareg_cli.terminal.wording import size
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import concurrency_option, dry_run
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client.results.lock_reports import Step, SyncedFolder

ORDER = 66

_TONES: "dict[Step, Tone]" = {"kept": "dim", "fetched": "good", "replaced": "warn", "drift": "bad"}


@command(
    "sync",
    Example("what the lock says", "deltareg sync"),
    Example("in CI: fail where anything is another one", "deltareg sync --frozen"),
    Example("look first", "deltareg sync --dry-run"),
    see_also=("lock", "outdated", "update", "help exit-codes"),
    is_resumable=True,
)
@click.argument(
    "file",
    metavar="[LOCKFILE]",
    default=LOCK_FILE,
    type=click.Path(path_type=Path),
    help="The lock file; delta.lock without it.",
)
@option("--frozen", is_flag=True, help="Change nothing where a folder, a version or a base is another one than locked.")
@dry_run("Say what would be done, and do nothing.")
@concurrency_option()
@click.pass_obj
def sync(invocation: Invocation, file: Path, *, frozen: bool) -> ExitStatus:
    """Make the folders that delta.lock names what it says.

    A folder that holds its version is kept, one that is not there is fetched, another version in it
    is replaced, with only what differs sent. Each folder is made beside its place and takes it in
    one step. Where the server does not answer, what stands already is checked, and what the cache
    has whole is copied from there.

    With --frozen a folder that holds something else, a version that is revoked or gone and a base
    that has another tokenizer, config or tensors are drift, and nothing is changed then. Exit
    status: 0 all is as locked, 10 drift, or with --dry-run something to do.
    """
    is_plan = invocation.globals.dry_run
    report = invocation.client.folders.sync(file, frozen=frozen, is_plan=is_plan)
    ids = [str(each.folder) for each in report.folders if each.step != "kept"]
    invocation.output.show(CommandResult(report.to_dict(), [_table(report.folders)], ids))
    return ExitStatus.DIFFERENT if report.is_drifted else ExitStatus.DONE


def _table(folders: "Sequence[SyncedFolder]") -> TableBlock:
    columns = [Column("folder"), Column("version"), Column("step"), Column("fetched"), Column("why", is_prose=True)]
    rows: list[list[Text]] = [
        [
            Cell(str(each.folder), "name"),
            each.ref,
            Cell(each.step, _TONES[each.step]),
            size(each.fetched_bytes) if each.fetched_bytes else Cell("-", "dim"),
            each.why,
        ]
        for each in folders
    ]
    return TableBlock(columns, rows, if_empty="nothing is locked: deltareg lock NS/NAME@prod DIR")
