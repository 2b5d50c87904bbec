"""Lists that the server gives page by page: one page at hand, the others when they are wanted."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from deltareg.client.paging import walk
from deltareg.wire import Answer, Page
from deltareg.wire.tables import rows_html

Item = TypeVar("Item", bound=Answer)


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """Things of one kind, in order; iterating goes over all pages, `items` is the first of them.

    Attributes:
        items: What came with the first page.
        next_cursor: Where the next page begins; None when there is none.
    """

    items: list[Item]
    next_cursor: str | None
    _ask: Callable[[str | None], Page[Item]] = field(repr=False, compare=False)

    def __iter__(self) -> Iterator[Item]:
        """Give every item; a page is asked for when its first item is wanted."""
        yield from self.items
        if self.next_cursor is not None:
            yield from walk(self._ask, since=self.next_cursor)

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.items) or self.next_cursor is not None

    def to_dict(self) -> dict[str, object]:
        """The first page as plain values, as `--json` writes it."""
        items = [item.to_dict() for item in self.items]
        return {"items": items, "next_cursor": self.next_cursor}

    def _repr_html_(self) -> str:
        """Show the first page as a table, for notebooks."""
        note = "" if self.next_cursor is None else "there is more: iterate over it"
        return rows_html([item.to_dict() for item in self.items], note=note)


def list_pages(ask: Callable[[str | None], Page[Item]], cursor: str | None) -> Listing[Item]:
    """Ask for a page, and give the list that begins with it."""
    page = ask(cursor)
    return Listing(page.items, page.next_cursor, ask)
