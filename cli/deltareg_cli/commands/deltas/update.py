"""`deltareg update`: make an installed version another one."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Cell, CommandResult, FactsBlock, Sentence, SentencesBlock
from deltareg_cli.terminal.wording import rate, seconds, size
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import concurrency_option
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.revocations import warn

if TYPE_CHECKING:
    from deltareg.client import UpdateReport

ORDER = 60


@command(
    "update",
    Example("what prod serves now", "deltareg update ./chat --to @prod"),
    Example("what would travel", "deltareg update ./chat --to @prod --plan"),
    Example("another line", "deltareg update ./chat --to me/chat-next:v2"),
    see_also=("pull", "materialize", "cache", "help references"),
    is_resumable=True,
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), help="Where a version is installed.")
@option("--to", required=True, metavar="REF", help="What it is to hold; @prod or :v3 means the line that is installed.")
@option("--plan", is_flag=True, help="Say what would travel, and do nothing.")
@concurrency_option()
@click.pass_obj
def update(invocation: Invocation, folder: Path, *, to: str, plan: bool) -> None:
    """Turn an installed version into another, sending what differs.

    DIR is where deltareg pull --to or deltareg materialize --out has put a version. Tensors that
    are in it already are not fetched, and of one that is stored against such a tensor only the
    difference is. Where nothing in DIR helps, all of the new version comes.

    The new folder is made beside the old one, checked as any pull, and takes its place in one
    step: whoever opens DIR finds the old version or the new one, whole. Files in DIR that are of
    neither are not touched; update stops and names them. A folder that was pulled with --include
    keeps to those files.
    """
    is_plan = plan or invocation.globals.dry_run
    report = invocation.client.folders.update(folder, to, is_plan=is_plan)
    warn(invocation, report.ref, report.revocation, report.deprecation)
    invocation.output.show(update_answer(report))


def update_answer(report: "UpdateReport") -> CommandResult:
    """Show how much the update transfers, beside a whole pull."""
    needs_bytes = report.plan == "none" or report.fetched_bytes > 0
    verb = "would be" if report.is_plan else "is"
    was = f"before: {report.from_ref}{', changed since' if report.was_written_to else ''}"
    where = f"{verb} in {report.path} ({was}); {_bytes(report)}"
    facts = FactsBlock(
        [
            ("plan", report.plan if needs_bytes else "everything is here already"),
            ("took", "" if report.is_plan else seconds(report.seconds)),
            ("digest", report.digest),
        ]
    )
    head = SentencesBlock([Sentence(where, Cell(report.ref, "name"))])
    return CommandResult(report.to_dict(), [head], [str(report.path)], [facts])


def _bytes(report: "UpdateReport") -> str:
    if report.plan == "none":
        return "the folder holds it already"
    if not report.fetched_bytes:
        return "nothing to fetch"
    size_moved = size(report.fetched_bytes)
    speed = "" if report.is_plan else f" at {rate(report.fetched_bytes, report.seconds)}"
    whole = f"a whole pull: {size(report.full_bytes)}"
    return f"{size_moved} {'to fetch' if report.is_plan else 'fetched'}{speed} ({whole})"
