"""`deltareg diff`: what differs between two versions."""

from typing import TYPE_CHECKING

import click

from deltareg_cli.blocks import Answer
from deltareg_cli.command_tree import command
from deltareg_cli.exits import Exit
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import option
from deltareg_cli.views.differences import difference_blocks, to_markdown

if TYPE_CHECKING:
    from deltareg.client import DiffReport


@command(
    "diff",
    Example("what changed from v2 to v3?", "deltareg diff me/chat:v2 me/chat:v3"),
    Example("the newest against what prod serves", "deltareg diff me/chat@prod me/chat"),
    Example(
        "for a comment on a change request",
        "deltareg diff me/chat:v2 me/chat:v3 --format md",
    ),
    see_also=("show", "lineage", "help references"),
)
@click.argument("a", metavar="A", help="The one before; a bare NS/NAME is its newest version.")
@click.argument("b", metavar="B", help="The one after.")
@option(
    "--top",
    type=click.IntRange(0, 10_000),
    default=20,
    show_default=True,
    help="Modules to show, those that differ most first.",
)
@option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "md"]),
    help="md is Markdown; the others are those of --output.",
)
@option("--exit-code", is_flag=True, help="Exit status 10 if there is any difference.")
@click.pass_obj
def diff(
    invocation: Invocation, a: str, b: str, *, top: int, form: str | None, exit_code: bool
) -> Exit:
    """Compare two versions, tensor by tensor.

    Shows what differs in files, config and tensors. For each module: the relative norm of the
    difference, the cosine between the two changes, their ranks, and how much their subspaces
    overlap. For LoRA all of it comes from the factors, without the dense product, so it takes
    little memory whatever the size of the base.
    """
    if form in {"table", "json"}:
        invocation.output.format = "json" if form == "json" else "table"
    report = invocation.client.diff(a, b, top=top)
    invocation.output.show(_answer(report, is_markdown=form == "md"))
    return Exit.DIFFERENT if exit_code and report.is_different else Exit.DONE


def _answer(report: "DiffReport", *, is_markdown: bool) -> Answer:
    ids = [report.b.ref] if report.is_different else []
    blocks = difference_blocks(report)
    return Answer(report.to_json(), blocks, ids, raw=to_markdown(report) if is_markdown else None)
