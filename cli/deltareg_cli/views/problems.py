"""Problems of an upload, as sentences."""

from collections.abc import Sequence

from deltareg.errors import Problem
from deltareg_cli.terminal.blocks import Cell, Sentence, SentencesBlock, tone_word


def problem_lines(problems: Sequence[Problem]) -> list[SentencesBlock]:
    """Show each problem with its tensor; the fix appears once, below the problems that share it."""
    blocks: list[SentencesBlock] = []
    for n, problem in enumerate(problems):
        where = f" [{problem.tensor}]" if problem.tensor else ""
        lead = Cell(f"{problem.code}:", tone_word(problem.severity).tone)
        blocks.append(SentencesBlock([Sentence(f"{problem.message}{where}", lead)], indent=2))
        following = problems[n + 1].fix if n + 1 < len(problems) else ""
        if problem.fix and problem.fix != following:
            blocks.append(SentencesBlock([Sentence(problem.fix, Cell("fix:", "good"))], indent=4))
    return blocks
