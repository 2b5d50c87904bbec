"""Lists as CSV: the same use case, rights and filters as the page, sent part by part."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from deltareg.drawing.csv_rows import Cell as Cell
from deltareg.drawing.csv_rows import harmless as harmless
from deltareg.drawing.csv_rows import write_rows as write_rows
from deltareg.wire import Answer

Shown = TypeVar("Shown", bound=Answer)
MEDIA_TYPE: Final = "text/csv; charset=utf-8"


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


def pairs(named: Mapping[str, object]) -> str:
    """Format labels and the like as one cell."""
    return " ".join(f"{name}={value}" for name, value in named.items())
