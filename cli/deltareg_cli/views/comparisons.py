"""The comparisons of a verdict: what they showed of a margin, on how many samples."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, TableBlock, Text, TitleBlock, Tone
from deltareg_cli.terminal.wording import count, number

if TYPE_CHECKING:
    from deltareg.wire import CheckResult, Comparison

_WORDS: dict[str, tuple[str, Tone]] = {
    "met": ("not worse", "good"),
    "missed": ("worse", "bad"),
    "undecided": ("undecided", "warn"),
}


def comparison_blocks(checks: Sequence["CheckResult"]) -> list[Block]:
    """Show the comparisons; empty where a verdict compares nothing."""
    compared = [
        (check, one) for check in checks if check.comparison is not None for one in (check.comparison, *check.beside)
    ]
    if not compared:
        return []
    columns = [
        Column("comparison"),
        Column("shows"),
        Column("estimate", is_number=True),
        Column("interval"),
        Column("must reach", is_number=True),
        Column("margin", is_number=True),
        Column("n", is_number=True),
        Column("look"),
        Column("compared with", is_prose=True),
    ]
    rows = [_row(check, comparison) for check, comparison in compared]
    family = max(comparison.family for _, comparison in compared)
    together = f"{count(family, 'comparison')}, Holm" if family > 1 else ""
    return [TitleBlock("Comparisons", together), TableBlock(columns, rows)]


def _row(check: "CheckResult", found: "Comparison") -> list[Text]:
    word, tone = _WORDS[found.decision]
    needs = f"; about {found.needs} samples would decide it" if found.needs > found.n else ""
    other = found.other or found.against
    with_what = other if other == found.against else f"{other} ({found.against})"
    return [
        check.name,
        Cell(word, tone),
        number(check.value),
        f"{number(found.low)} to {number(found.high)} at {100 * found.confidence:.4g} %",
        number(check.threshold if found is check.comparison else None),
        number(found.margin),
        str(found.n),
        f"{found.look} of {found.looks}",
        f"{with_what}{needs}",
    ]
