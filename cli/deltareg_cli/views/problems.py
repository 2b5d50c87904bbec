"""Problems of an upload, as lines."""

from collections.abc import Sequence

from deltareg.errors import Problem
from deltareg_cli.terminal.blocks import Cell, LinesBlock, Text, tone_word


def problem_lines(problems: Sequence[Problem]) -> LinesBlock:
    """Show each problem with its tensor; the fix appears once, below the problems that share it."""
    lines: list[Text | Sequence[Text]] = []
    for n, problem in enumerate(problems):
        where = Cell(f"[{problem.tensor}]" if problem.tensor else "", "dim")
        head = Cell(f"  {problem.code}", tone_word(problem.severity).tone)
        lines.append([head, where, problem.message])
        following = problems[n + 1].fix if n + 1 < len(problems) else ""
        if problem.fix and problem.fix != following:
            lines.append([Cell("    fix:", "good"), problem.fix])
    return LinesBlock(lines)
