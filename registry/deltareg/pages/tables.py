"""Lists as CSV: the same use case, rights and filters as the page, sent part by part.

Spreadsheets treat a cell that begins with one of a few signs as a formula, and other people may
have written its content. Such a cell gets an apostrophe in front, which spreadsheets hide.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from deltareg.drawing.wording import clean
from deltareg.wire import Answer

Shown = TypeVar("Shown", bound=Answer)
Cell = str | int | float | bool | None
MEDIA_TYPE: Final = "text/csv; charset=utf-8"
# The last four are those of wide East Asian writing, which some spreadsheets take as well.
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def _no_more(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class PageTable(Generic[Shown]):
    """A page as a table.

    Attributes:
        heads: The heads of the columns.
        cells: Returns the rows of a page's content.
        next_cursor: Returns the cursor at which the list continues; None at its end.
    """

    heads: Sequence[str]
    cells: Callable[[Shown], Iterable[Sequence[Cell]]]
    next_cursor: Callable[[Shown], str | None] = _no_more


def parts(table: PageTable[Shown], first: Shown, load: Callable[[str], Shown]) -> Iterator[str]:
    """Yield a list as CSV, part by part.

    Args:
        table: The table.
        first: The requested page.
        load: Returns the page that begins at a cursor, with the rights of that moment.
    """
    page = first
    yield write_rows([table.heads])
    while True:
        yield write_rows(table.cells(page))
        cursor = table.next_cursor(page)
        if cursor is None:
            return
        page = load(cursor)


def write_rows(rows: Iterable[Sequence[Cell]]) -> str:
    """Format rows as CSV, as in RFC 4180."""
    out = io.StringIO()
    csv.writer(out).writerows([harmless(cell) for cell in row] for row in rows)
    return out.getvalue()


def harmless(cell: Cell) -> str:
    """Format a cell so that no spreadsheet takes it for a formula; a number stays one."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int | float):
        return str(cell)
    text = clean(cell).strip()
    return f"'{text}" if text.startswith(_FORMULA) else text


def pairs(named: Mapping[str, object]) -> str:
    """Format labels and the like as one cell."""
    return " ".join(f"{name}={value}" for name, value in named.items())
