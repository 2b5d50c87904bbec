"""Model cards as facts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, TableBlock, Text, TitleBlock

if TYPE_CHECKING:
    from deltareg.wire import CardInfo, CardResult

_SHOWN = 12
_UNFILLED = "[More Information Needed]"


def card_blocks(card: "CardInfo") -> list[Block]:
    """Show what a card says, and which parts could not be read."""
    rows: list[tuple[str, Text | Sequence[Text]]] = [
        ("title", Cell(card.title, "strong")),
        ("about", card.summary),
        ("license", card.license),
        ("task", card.task),
        ("library", card.library),
        ("languages", _some(card.languages)),
        ("tags", _some(card.tags)),
        ("datasets", _some(card.datasets)),
        ("base, it says", _some(card.base_models)),
        *(("unread", Cell(problem, "warn")) for problem in card.problems),
    ]
    if not card.metrics:
        return [FactsBlock(rows)]
    return [FactsBlock(rows), TitleBlock("Results, it says"), _table(card.metrics)]


def describe_card(card: "CardInfo") -> str:
    """Describe a card in a line, without what its template asks to be filled in."""
    license_words = f"license {card.license}" if card.license else ""
    parts = [text for text in (card.title, card.summary, license_words) if text and _UNFILLED not in text]
    return "; ".join(parts)


def card_facts(card: "CardInfo") -> list[tuple[str, Text | Sequence[Text]]]:
    """Show the card of a version in a few rows, among its other facts."""
    return [
        ("card", [Cell(card.title, "strong"), Cell("" if _UNFILLED in card.summary else card.summary, "dim")]),
        ("license", card.license),
        ("tags", _some(card.tags)),
        *(("card, unread", Cell(problem, "warn")) for problem in card.problems[:1]),
    ]


def _table(metrics: Sequence["CardResult"]) -> TableBlock:
    columns = [Column("name"), Column("value", is_number=True), Column("dataset"), Column("task")]
    rows: list[list[Text]] = [
        [each.name, f"{each.value:g}", each.dataset or Cell("-", "dim"), each.task] for each in metrics
    ]
    return TableBlock(columns, rows)


def _some(words: Sequence[str]) -> str:
    more = f", and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more
