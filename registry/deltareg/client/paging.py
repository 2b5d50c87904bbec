"""Lists that the server returns page by page, iterated as one."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from deltareg.wire import Page

Item = TypeVar("Item")


def walk(ask: Callable[[str | None], Page[Item]], *, since: str | None = None) -> Iterator[Item]:
    """Yield the items of all pages in order; a page is requested when its first item is needed.

    Args:
        ask: Returns the page at a cursor; None is the first.
        since: The cursor of the page to begin with.
    """
    cursor = since
    while True:
        page = ask(cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
