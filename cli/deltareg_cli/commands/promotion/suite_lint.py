"""`deltareg suite lint`: look at a suite before it is pushed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import Block, Cell, CommandResult, FactsBlock, LinesBlock, Text, TitleBlock, Tone
from deltareg_cli.terminal.wording import count
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.suites.lint import LintFinding
    from deltareg.suites.suite import Suite


@command(
    "lint",
    Example("is it sound?", "deltareg suite lint reviews.yaml"),
    see_also=("suite push", "suite backtest", "suite checks"),
)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path), help="The suite's YAML file.")
@click.pass_obj
def lint(invocation: Invocation, path: Path) -> ExitStatus:
    """Say what is wrong with a suite and its probe sets.

    Refused are unknown keys, a suite in which no check can fail, samples that are there twice, and
    margins that so few samples can never show. Warned of are checks of smoke that are not required
    here, margins that these samples show too seldom, sets that no check uses, and samples that two
    sets share.

    No server is asked and no network is run. The exit status is 0 when it may be pushed, also with
    warnings, and 2 when it is refused.
    """
    suite, problems = invocation.client.suites.lint(path)
    errors = [one for one in problems if one.severity == "error"]
    sets = dict(invocation.client.suites.sizes(path))
    document = {
        "path": str(path),
        "suite": suite.name,
        "checks": len(suite.checks),
        "sets": sets,
        "accepted": not errors,
        "findings": [
            {"severity": one.severity, "where": one.where, "message": one.message, "fix": one.fix} for one in problems
        ],
    }
    blocks = _blocks(path, suite, sets, problems)
    invocation.output.show(CommandResult(document, blocks, [suite.name]))
    return ExitStatus.INVALID if errors else ExitStatus.DONE


def _blocks(path: Path, suite: "Suite", sets: Mapping[str, int], found: Sequence["LintFinding"]) -> list[Block]:
    errors = sum(one.severity == "error" for one in found)
    outcome = (
        Cell(f"refused: {count(errors, 'error')}", "bad")
        if errors
        else Cell(f"may be pushed, with {count(len(found), 'warning')}", "warn")
        if found
        else Cell("may be pushed", "good")
    )
    lines: list[Text | Sequence[Text]] = []
    for one in found:
        tone: Tone = "bad" if one.severity == "error" else "warn"
        lines.append([Cell(one.severity.ljust(7), tone), _describe_finding(one)])
        if one.fix:
            lines.append([" " * 7, Cell(one.fix, "dim")])
    return [
        TitleBlock(str(path), suite.name),
        FactsBlock(
            [
                ("checks", str(len(suite.checks))),
                ("samples", ", ".join(f"{name} {n:,}" for name, n in sets.items())),
                ("outcome", outcome),
            ]
        ),
        LinesBlock(lines),
    ]


def _describe_finding(one: "LintFinding") -> str:
    return f"{one.where}: {one.message}" if one.where else one.message
