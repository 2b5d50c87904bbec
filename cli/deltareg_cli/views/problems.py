"""Problems of an upload, as lines."""

from collections.abc import Sequence

from deltareg.errors import Problem
from deltareg_cli.blocks import Cell, Lines, Text, toned


def problem_lines(problems: Sequence[Problem]) -> Lines:
    """Show each problem with its tensor and what to do about it."""
    lines: list[Text | Sequence[Text]] = []
    for problem in problems:
        where = Cell(f"[{problem.tensor}]" if problem.tensor else "", "dim")
        head = Cell(f"  {problem.code}", toned(problem.severity).tone)
        lines.append([head, where, problem.message])
        if problem.fix:
            lines.append([Cell("    fix:", "good"), problem.fix])
    return Lines(lines)
