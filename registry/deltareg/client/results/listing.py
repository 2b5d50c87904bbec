"""Lists that the server returns page by page; further pages are requested when needed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from deltareg.client.paging import walk
from deltareg.wire import Answer, Page
from deltareg.wire.tables import one_line, rows_html

_FEW = 3
Item = TypeVar("Item", bound=Answer)


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """Things of one kind, in order; iterating walks all pages, `items` is the first one.

    Attributes:
        items: The items of the first page.
        next_cursor: The cursor of the next page; None if there is none.
    """

    items: list[Item]
    next_cursor: str | None
    _ask: Callable[[str | None], Page[Item]] = field(repr=False, compare=False)

    def __iter__(self) -> Iterator[Item]:
        """Yield every item; a page is requested when its first item is needed."""
        yield from self.items
        if self.next_cursor is not None:
            yield from walk(self._ask, since=self.next_cursor)

    def __bool__(self) -> bool:
        """Whether there is anything in the list."""
        return bool(self.items) or self.next_cursor is not None

    def __repr__(self) -> str:
        """Return one line: how many there are, and the names of the first."""
        names = [str(getattr(item, "ref", "") or getattr(item, "name", "") or item) for item in self.items[:_FEW]]
        more = "" if self.next_cursor is None and len(self.items) <= _FEW else ", …"
        count = f"{len(self.items)}{'' if self.next_cursor is None else ' and more'}"
        return one_line("Listing", f"of {count}: {', '.join(names)}{more}" if names else "of nothing")

    def to_dict(self) -> dict[str, object]:
        """Return the first page as plain values, as `--json` writes it."""
        items = [item.to_dict() for item in self.items]
        return {"items": items, "next_cursor": self.next_cursor}

    def _repr_html_(self) -> str:
        """Format the first page as a table, for notebooks."""
        note = "" if self.next_cursor is None else "there is more: iterate over it"
        return rows_html([item.to_dict() for item in self.items], note=note)


def list_pages(ask: Callable[[str | None], Page[Item]], cursor: str | None) -> Listing[Item]:
    """Request a page, and return the list that begins with it."""
    page = ask(cursor)
    return Listing(page.items, page.next_cursor, ask)
