"""`deltareg diff`: what differs between two versions."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.client.report_files.writing import ReportPaths, write_whole
from deltareg_cli.blocks import Answer
from deltareg_cli.command_tree import command
from deltareg_cli.exits import Exit
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import option
from deltareg_cli.views.differences import difference_blocks, to_markdown

if TYPE_CHECKING:
    from deltareg.client import DiffReport

ALL_MODULES = 100_000


@command(
    "diff",
    Example("what changed from v2 to v3?", "deltareg diff me/chat:v2 me/chat:v3"),
    Example("the newest against what prod serves", "deltareg diff me/chat@prod me/chat"),
    Example(
        "for a comment on a change request",
        "deltareg diff me/chat:v2 me/chat:v3 --format md",
    ),
    Example(
        "as a page with plots",
        "deltareg diff me/chat:v2 me/chat:v3 --report-html diff.html",
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
    type=click.Choice(["table", "json", "md", "html"]),
    help="md is Markdown, html one file with plots; the others are those of --output.",
)
@option(
    "--report-html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write all of it as one HTML file with plots, too.",
)
@option("--exit-code", is_flag=True, help="Exit status 10 if there is any difference.")
@click.pass_obj
def diff(
    invocation: Invocation,
    a: str,
    b: str,
    *,
    top: int,
    form: str | None,
    report_html: Path | None,
    exit_code: bool,
) -> Exit:
    """Compare two versions, tensor by tensor.

    Shows what differs in files, config and tensors. For each module: the relative norm of the
    difference, the cosine between the two changes, their ranks, and how much their subspaces
    overlap. For LoRA all of it comes from the factors, without the dense product, so it takes
    little memory whatever the size of the base. The HTML file shows every module by layer.
    """
    if form in {"table", "json"}:
        invocation.output.format = "json" if form == "json" else "table"
    paths = ReportPaths(html=report_html)
    paths.check()
    is_whole = form == "html" or report_html is not None
    report = invocation.client.diff(a, b, top=ALL_MODULES if is_whole else top)
    page = _page(report, invocation) if is_whole else ""
    if report_html is not None:
        write_whole(report_html, page)
    told = replace(report, modules=report.modules[:top])
    invocation.output.show(_answer(told, raw=_raw(told, form, page)))
    return Exit.DIFFERENT if exit_code and report.is_different else Exit.DONE


def _answer(report: "DiffReport", *, raw: str | None) -> Answer:
    ids = [report.b.ref] if report.is_different else []
    return Answer(report.to_json(), difference_blocks(report), ids, raw=raw)


def _raw(report: "DiffReport", form: str | None, page: str) -> str | None:
    if form == "html":
        return page
    return to_markdown(report) if form == "md" else None


def _page(report: "DiffReport", invocation: Invocation) -> str:
    from deltareg.client.report_files.difference_html import to_html  # what other forms need not

    return to_html(report, now=invocation.now)
