"""`deltareg lint`: look at a folder before it is pushed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.delta.serving import engine_names
from deltareg.errors import Problem, Refused
from deltareg.words import CONVENTIONS
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Block, Cell, CommandResult, FactsBlock, LinesBlock
from deltareg_cli.terminal.wording import count
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.problems import problem_lines

if TYPE_CHECKING:
    from deltareg.client import LintReport
    from deltareg.delta.serving import Servability

ORDER = 10

MOST_TARGETS = 3
BASE_MATCHES = {
    "exact": Cell("exact", "good"),
    "shapes": Cell("shapes fit, values were not compared", "warn"),
    "none": Cell("not compared", "dim"),
}


@command(
    "lint",
    Example("what is this, and is it sound?", "deltareg lint ./adapter"),
    Example("does it fit this base?", "deltareg lint ./adapter --base ./llama"),
    Example("can what we serve with take it?", "deltareg lint ./adapter --engine sglang"),
    see_also=("push", "explain", "help exit-codes"),
)
@click.argument("path", type=click.Path(path_type=Path), help="The folder or file to look at.")
@option("--base", metavar="NAME|PATH|REF", help="The base that it was made against; ns/name:v3 is one.")
@option(
    "--convention",
    type=click.Choice(CONVENTIONS),
    help="What bias-only and sparse values are: new values, or differences.",
)
@option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(engine_names()),
    help="An engine that has to be able to serve it; may be said again.",
)
@click.pass_obj
def lint(
    invocation: Invocation, path: Path, base: str | None, convention: str | None, engines: tuple[str, ...]
) -> ExitStatus:
    """Look at a folder as push would, and send nothing.

    Shows its kind, its shapes, where it acts and what is wrong with it. With a path as the base no
    server is asked; with the name of a registered base its tensor names and shapes come from the
    registry, and a version is folded into its own base first.

    What engines that serve deltas beside their base would refuse, or apply otherwise than it was
    trained, is said as well; the policy of a channel may ask that one can (servable).

    Files that hold code are named and never opened: pickle, scripts, links. The exit status is 0
    when push would take the folder and 2 when it would refuse it, or an --engine cannot serve it.
    """
    try:
        report = invocation.client.lint(path, base=base, convention=convention or "")
    except Refused as error:  # a file that cannot be read at all
        invocation.output.show(_unreadable(path, error))
        return ExitStatus.INVALID
    invocation.output.show(lint_answer(report, path, engines=engines))
    cannot = any(each.engine in engines and not each.is_servable for each in report.servable)
    return ExitStatus.DONE if report.is_accepted and not cannot else ExitStatus.INVALID


def lint_answer(report: "LintReport", path: Path, *, engines: Sequence[str] = ()) -> CommandResult:
    """Show the report; of engines the requested ones, or all."""
    from deltareg.delta.injection import describe_points  # brings NumPy, which a page of help need not load

    verdicts = [each for each in report.servable if not engines or each.engine in engines]
    accepting = [each for each in verdicts if each.is_servable]
    others = [each for each in verdicts if not each.is_servable]
    foldable = "can be folded into the base" if report.foldable else "can only be attached"
    foldable = foldable if report.kind else ""
    blocks: list[Block] = [
        LinesBlock([[Cell(f"{path}:", "name"), _outcome(report.problems)]]),
        *problem_lines(report.problems),
        FactsBlock(
            [
                ("kind", [_kind(report.kind, report.variant), _size(report), Cell(foldable, "dim")]),
                ("base", BASE_MATCHES.get(report.base_match, report.base_match)),
                ("targets", "; ".join(describe_points(report.injection)) or _some(report.targets)),
                ("served by", _lines(accepting)),
                ("not served by", Cell(_lines(others), "bad") if engines else _lines(others)),
                ("left out", ", ".join(report.left_out)),
            ]
        ),
    ]
    details = FactsBlock(
        [
            ("rank", [report.rank, Cell(f"scale {report.scale}" if report.scale else "", "dim")]),
            ("stored as", report.dtype),
            ("evidence", report.evidence),
        ]
    )
    return CommandResult(report.to_dict(), blocks, [report.kind], [details])


def _unreadable(path: Path, error: Refused) -> CommandResult:
    from deltareg.client import LintReport  # what `--help` need not load

    blocks: list[Block] = [
        LinesBlock([[Cell(f"{path}:", "name"), _outcome(error.problems)]]),
        *problem_lines(error.problems),
    ]
    return CommandResult(LintReport(problems=error.problems).to_dict(), blocks)


def _lines(judged: "Sequence[Servability]") -> str:
    """Name engines in one line, each with what it accepts or what is in the way."""
    return "; ".join(
        f"{each.engine} ({', '.join(each.obstacles) or f'with {each.needs}'})"
        if each.obstacles or each.needs
        else each.engine
        for each in judged
    )


def _size(report: "LintReport") -> str:
    modules = f" for {count(report.modules, 'module')}" if report.modules else ""
    return f"{count(report.tensors, 'tensor')}{modules}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_TARGETS} more" if len(names) > MOST_TARGETS else ""
    return f"{', '.join(names[:MOST_TARGETS])}{more}"


def _kind(kind: str, variant: str) -> Cell:
    name = f"{kind} ({variant})" if variant not in {"", kind} else kind
    return Cell(name or "not recognised", "name" if kind else "bad")


def _outcome(problems: Sequence[Problem]) -> Cell:
    if any(problem.severity == "error" for problem in problems):
        return Cell("push would refuse it", "bad")
    warnings = f", with {count(len(problems), 'warning')}" if problems else ""
    return Cell(f"push would take it{warnings}", "good")
