"""`deltareg diff`: what differs between two versions."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.client.report_files.writing import ReportPaths, write_whole
from deltareg.errors import InvalidInput
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, timeout_option
from deltareg_cli.runs.behavior import behavior_answer, compare_behavior, difference_page
from deltareg_cli.runs.by_worker import compare_by_worker
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import gpu_option
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.behavior import Fields
from deltareg_cli.views.differences import difference_blocks, to_markdown

if TYPE_CHECKING:
    from deltareg.client import DiffReport

ORDER = 110

ALL_MODULES = 100_000
_MODULES, _PROMPTS = 20, 10
_BEHAVIOR = frozenset({"behavior", "all"})


@command(
    "diff",
    Example("what changed from v2 to v3?", "deltareg diff me/chat:v2 me/chat:v3"),
    Example("the newest against what prod serves", "deltareg diff me/chat@prod me/chat"),
    Example(
        "what it changes in what the network says",
        "deltareg diff me/chat@prod me/chat --mode behavior --prompts prompts.txt",
    ),
    Example(
        "a version beside its base, on the samples of a suite",
        "deltareg diff base me/chat:v3 --mode behavior --suite reviews",
    ),
    Example("by a worker, which has the base", "deltareg diff me/chat:v2 me/chat:v3 --on worker"),
    Example("for a comment on a change request", "deltareg diff me/chat:v2 me/chat:v3 --format md"),
    Example(
        "as a page with plots; with --mode all, of what both do, too",
        "deltareg diff me/chat:v2 me/chat:v3 --report-html diff.html",
    ),
    see_also=("show", "lineage", "bisect", "help references"),
)
@click.argument("a", metavar="A", help="The one before; a bare NS/NAME is its newest version.")
@click.argument("b", metavar="B", help="The one after.")
@option(
    "--mode",
    type=click.Choice(["tensor", "meta", "behavior", "all"]),
    default="tensor",
    show_default=True,
    help="meta leaves out the numbers; behavior runs both; all is tensor and behavior.",
)
@option(
    "--top",
    type=click.IntRange(0, 10_000),
    help=f"Modules ({_MODULES}) or prompts ({_PROMPTS}) to show, those that differ most first.",
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
@option(
    "--on",
    type=click.Choice(["here", "worker"]),
    default="here",
    show_default=True,
    help="worker has one compare the tensors, which then need not come here.",
)
@timeout_option()
@option("--exit-code", is_flag=True, help="Exit status 10 if there is any difference.")
@option(
    "--prompts",
    metavar="FILE",
    type=click.Path(path_type=Path),
    section="Behavior",
    help='Prompts: .txt, one a line; .jsonl, {"text": …}; or .safetensors, inputs by name.',
)
@option("--suite", metavar="NAME", section="Behavior", help="Take the probe sets of a suite instead.")
@option(
    "--tokens",
    type=click.IntRange(0, 1024),
    default=32,
    show_default=True,
    section="Behavior",
    help="How far the prompts that differ most are continued.",
)
@gpu_option("Behavior")
@click.pass_obj
def diff(
    invocation: Invocation,
    a: str,
    b: str,
    *,
    mode: str,
    top: int | None,
    form: str | None,
    report_html: Path | None,
    on: str,
    timeout: float,
    exit_code: bool,
    prompts: Path | None,
    suite: str | None,
    tokens: int,
    gpu: str,
) -> ExitStatus:
    """Compare two versions, tensor by tensor or by what they do.

    Shows what differs in files, config and tensors. For each module: the relative norm of the
    difference, the cosine between the two changes, their ranks, and how much their subspaces
    overlap. For LoRA all of it comes from the factors, without the dense product, so it takes
    little memory whatever the size of the base. The HTML file shows every module by layer.

    With --on worker a worker reads the tensors, and they need not come here. What it finds is kept
    as long as both versions stand, for whoever asks next and for the page of the two.

    With --mode behavior both are run on the same inputs: how far their distributions are apart, how
    often their first choice is the same, what each goes on to say, and how measures change, with 95
    % intervals. Either of the two may be the word `base`: the base of the other. An answer is kept,
    and given at once when the same is asked again.
    """
    if form in {"table", "json"}:
        invocation.output.format = "json" if form == "json" else "table"
    _check(a, b, mode=mode, inputs=(prompts, suite))
    ReportPaths(html=report_html).check()
    is_whole = form == "html" or report_html is not None
    report, behavior, modules = None, None, _MODULES if top is None else top
    if mode != "behavior":
        module_count = ALL_MODULES if is_whole else modules
        has_numbers = mode != "meta"
        report = (
            compare_by_worker(invocation, a, b, top=module_count, timeout_s=timeout)
            if on == "worker" and has_numbers
            else invocation.client.diff(a, b, top=module_count, has_numbers=has_numbers)
        )
    if mode in _BEHAVIOR:
        behavior = compare_behavior(
            invocation, a, b, suite=suite, prompts=prompts, tokens=tokens, top=_PROMPTS if top is None else top, gpu=gpu
        )
    page = difference_page(report, behavior, now=invocation.now) if is_whole else ""
    if report_html is not None:
        write_whole(report_html, page)
    shortened = None if report is None else replace(report, modules=report.modules[:modules])
    answer = _answer(shortened, behavior, is_markdown=form == "md")
    invocation.output.show(replace(answer, raw=page) if form == "html" else answer)
    return ExitStatus.DIFFERENT if exit_code and _is_different(report, behavior) else ExitStatus.DONE


def _is_different(report: "DiffReport | None", found: Fields | None) -> bool:
    is_other = report is not None and report.is_different
    return is_other or (found is not None and bool(found["is_different"]))


def _check(a: str, b: str, *, mode: str, inputs: tuple[Path | None, str | None]) -> None:
    if mode not in _BEHAVIOR and any(inputs):
        raise InvalidInput("--prompts and --suite are for comparing what versions do", fix="add --mode behavior")
    if all(inputs):
        raise InvalidInput("the inputs are --prompts or --suite, not both", fix="leave one out")
    if mode != "behavior" and "base" in {a, b}:
        raise InvalidInput(f"--mode {mode} compares two versions", fix="a base: --mode behavior, or deltareg show")


def _answer(report: "DiffReport | None", found: Fields | None, *, is_markdown: bool) -> CommandResult:
    """Show what the two versions are, and below it what they do."""
    behavior = None if found is None else behavior_answer(found, is_markdown=is_markdown)
    if report is None:
        assert behavior is not None  # every mode is one of the two, or both
        return behavior
    ids = [report.b.ref] if report.is_different else []
    raw = to_markdown(report) if is_markdown else None
    answer = CommandResult(report.to_dict(), difference_blocks(report), ids, raw=raw)
    if behavior is None:
        return answer
    return CommandResult(
        {**answer.document, "behavior": behavior.document},
        [*answer.blocks, *behavior.blocks],
        answer.ids or behavior.ids,
        raw=None if raw is None else f"{raw}\n{behavior.raw}",
    )
