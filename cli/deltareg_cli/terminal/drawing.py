"""Draws blocks: with rich on a terminal, as aligned plain text in a pipe."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

import click

from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    FactsBlock,
    LinesBlock,
    SentencesBlock,
    TableBlock,
    Text,
    TitleBlock,
    Tone,
)
from deltareg_cli.terminal.wording import clean

GAP = 2
LEAST_PROSE = 24
WIDEST_LEAD = 26
_COMMAND = "deltareg "
_STYLES: dict[Tone, dict[str, str | bool]] = {
    "": {},
    "strong": {"bold": True},
    "name": {"fg": "cyan"},
    "good": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "bad": {"fg": "red"},
    "dim": {"dim": True},
}


@dataclass(frozen=True, slots=True)
class DrawingSurface:
    """The place where blocks are drawn.

    Attributes:
        width: Columns of the terminal.
        is_terminal: Whether it is a terminal; prose wraps only there.
        has_colour: Whether tones become colours.
    """

    width: int
    is_terminal: bool
    has_colour: bool

    def paint(self, text: str, tone: Tone) -> str:
        """Apply a tone to text that is already safe."""
        style = _STYLES[tone] if self.has_colour else {}
        return click.style(text, **style) if style and text else text  # type: ignore[arg-type]  # keyword types are lost in the table


def draw(blocks: Sequence[Block], surface: DrawingSurface) -> str:
    """Draw blocks below each other; a title begins after a blank line."""
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, TitleBlock) and lines:
            lines.append("")
        lines += _draw(block, surface)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _draw(block: Block, surface: DrawingSurface) -> Iterator[str]:
    match block:
        case TitleBlock():
            beside = f"  {surface.paint(clean(block.beside), 'dim')}" if block.beside else ""
            yield f"{surface.paint(clean(block.text), 'strong')}{beside}"
        case LinesBlock():
            for line in block.lines:
                yield _side_by_side(line, surface, gap=1)
        case SentencesBlock():
            yield from _sentences(block, surface)
        case FactsBlock():
            yield from _facts(block, surface)
        case TableBlock():
            yield from _table(block, surface)
        case _:
            assert_never(block)


def _cells(text: Text | Sequence[Text]) -> list[Cell]:
    parts = [text] if isinstance(text, str | Cell) else text
    cells = [Cell(part) if isinstance(part, str) else part for part in parts]
    return [Cell(clean(cell.text), cell.tone) for cell in cells if cell.text]


def _side_by_side(text: Text | Sequence[Text], surface: DrawingSurface, *, gap: int = GAP) -> str:
    return (" " * gap).join(surface.paint(cell.text, cell.tone) for cell in _cells(text))


def wrap(text: str, first: int, rest: int, surface: DrawingSurface, *, most_lines: int | None = None) -> list[str]:
    """Break text at words to fit a terminal, and never inside a command; in a pipe it stays one line.

    Args:
        text: The text.
        first: The column where it begins.
        rest: The column where its other lines begin; they are returned without that indent.
        surface: Where it is drawn.
        most_lines: After how many lines it is cut off; commands are never cut.
    """
    if not surface.is_terminal or first + len(text) <= surface.width:
        return [text]
    prose, command = _split_command(text)
    if command and first + len(prose) > surface.width:
        return [*wrap(prose, first, rest, surface, most_lines=most_lines), command]
    if command:
        return [prose, command] if prose else [command]
    lines = textwrap.wrap(
        text,
        max(surface.width, rest + LEAST_PROSE),
        initial_indent=" " * first,
        subsequent_indent=" " * rest,
        break_on_hyphens=False,
        break_long_words=False,
        max_lines=most_lines,
        placeholder=" …",
    )
    return [line.strip() for line in lines]


def _split_command(text: str) -> tuple[str, str]:
    """Separate prose from the command that ends it."""
    at = 0 if text.startswith(_COMMAND) else text.find(f": {_COMMAND}") + 2
    return (text[:at].rstrip(), text[at:]) if at >= 2 or text.startswith(_COMMAND) else (text, "")


def _sentences(block: SentencesBlock, surface: DrawingSurface) -> Iterator[str]:
    """Draw each sentence behind its lead, and its other lines below its beginning."""
    leads = [_one(row.lead) for row in block.rows]
    column = max((len(lead.text) + block.gap for lead in leads if lead.text), default=0) + block.indent
    longest = max((len(word) for row in block.rows for word in row.text.split()), default=0)
    has_room = column <= WIDEST_LEAD and column + longest <= surface.width
    hanging = column if has_room else block.indent + GAP
    for row, lead in zip(block.rows, leads, strict=True):
        first, *rest = wrap(clean(row.text), column, hanging, surface, most_lines=row.most_lines)
        pad = " " * (column - block.indent - len(lead.text))
        yield f"{' ' * block.indent}{surface.paint(lead.text, lead.tone)}{pad}{first}"
        for line in rest:
            yield f"{' ' * hanging}{line}"


def _facts(block: FactsBlock, surface: DrawingSurface) -> Iterator[str]:
    rows = [(label, value) for label, value in block.rows if _cells(value)]
    width = max((len(label) for label, _ in rows), default=0)
    for label, value in rows:
        head = surface.paint(label.ljust(width), "dim")
        room = surface.width - width - GAP
        cells = _cells(value)
        if surface.is_terminal and len(cells) == 1 and len(cells[0].text) > room >= 20:
            first, *rest = textwrap.wrap(cells[0].text, room)
            yield f"{head}{' ' * GAP}{surface.paint(first, cells[0].tone)}"
            for line in rest:
                yield f"{' ' * (width + GAP)}{surface.paint(line, cells[0].tone)}"
        else:
            yield f"{head}{' ' * GAP}{_side_by_side(value, surface)}"


def _table(block: TableBlock, surface: DrawingSurface) -> Iterator[str]:
    if not block.rows:
        yield surface.paint(block.if_empty, "dim")
        return
    rows = [[_one(cell) for cell in row] for row in block.rows]
    widths = _widths(block.columns, rows)
    if surface.is_terminal and _least_width(block.columns, widths) > surface.width:
        yield from _with_widest_above(block.columns, rows, widths, surface)
        return
    prose = next((i for i, column in enumerate(block.columns) if column.is_prose), None)
    room = surface.width - sum(widths) - GAP * (len(widths) - 1)
    has_room = prose is None or not surface.is_terminal or widths[prose] + room >= LEAST_PROSE
    if prose is not None and has_room and surface.is_terminal:
        widths[prose] = min(widths[prose], widths[prose] + room)
    titles = [Cell(column.heading, "dim") for column in block.columns]
    for row in [titles, *rows]:
        if prose is None or has_room:
            yield from _row(row, block.columns, widths, surface)
        else:
            yield from _row_with_prose_below(row, block.columns, widths, surface)


def _least_width(columns: Sequence[Column], widths: Sequence[int]) -> int:
    """Return the width of a table whose prose stands below its rows."""
    fixed_widths = [width for column, width in zip(columns, widths, strict=True) if not column.is_prose]
    return sum(fixed_widths) + GAP * (len(fixed_widths) - 1)


def _with_widest_above(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], widths: Sequence[int], surface: DrawingSurface
) -> Iterator[str]:
    """Draw a table that is too wide: the widest column stands above the others of each row."""
    fixed = [i for i, column in enumerate(columns) if not column.is_prose]
    widest = max(fixed, key=lambda i: widths[i])
    others = [i for i in range(len(columns)) if i != widest]
    below = DrawingSurface(surface.width - GAP, surface.is_terminal, surface.has_colour)
    titles = [Cell(column.heading, "dim") for column in columns]
    for row in [titles, *rows]:
        yield surface.paint(row[widest].text, row[widest].tone)
        for line in _row_with_prose_below(
            [row[i] for i in others], [columns[i] for i in others], [widths[i] for i in others], below
        ):
            yield f"{' ' * GAP}{line}"


def _one(text: Text) -> Cell:
    return (_cells(text) or [Cell("")])[0]


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> list[int]:
    """Return the width of the widest cell of each column."""
    return [max(len(column.title), *(len(row[i].text) for row in rows)) for i, column in enumerate(columns)]


def _row_with_prose_below(
    row: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int], surface: DrawingSurface
) -> Iterator[str]:
    """Draw a row of a table that is too wide for the terminal: its prose on lines of its own."""
    fixed = [i for i, column in enumerate(columns) if not column.is_prose]
    yield from _row([row[i] for i in fixed], [columns[i] for i in fixed], [widths[i] for i in fixed], surface)
    is_heading = all(cell.text == column.heading for cell, column in zip(row, columns, strict=True))
    for i, column in enumerate(columns):
        if column.is_prose and not is_heading:
            for line in textwrap.wrap(row[i].text, max(surface.width - 4, LEAST_PROSE)):
                yield f"    {surface.paint(line, row[i].tone or 'dim')}"


def _row(
    row: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int], surface: DrawingSurface
) -> Iterator[str]:
    """Draw a row on as many lines as its longest prose cell needs."""
    wrapped = [
        textwrap.wrap(cell.text, width) or [""] if column.is_prose else [cell.text]
        for cell, column, width in zip(row, columns, widths, strict=True)
    ]
    for n in range(max(len(lines) for lines in wrapped)):
        parts: list[str] = []
        for cell, column, width, lines in zip(row, columns, widths, wrapped, strict=True):
            text = lines[n] if n < len(lines) else ""
            pad = " " * (width - len(text))
            painted = surface.paint(text, cell.tone)
            parts.append(f"{pad}{painted}" if column.is_number else f"{painted}{pad}")
        yield (" " * GAP).join(parts)
