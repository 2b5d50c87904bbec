"""Lists that the server gives page by page, walked through as one."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from deltareg.wire import Page

Item = TypeVar("Item")


def walk(ask: Callable[[str | None], Page[Item]], *, since: str | None = None) -> Iterator[Item]:
    """Give the items of all pages in order; a page is asked for when its first item is wanted.

    Args:
        ask: Gives the page at a cursor; None is the first.
        since: The cursor of the page to begin with.
    """
    cursor = since
    while True:
        page = ask(cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
