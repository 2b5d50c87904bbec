"""Opaque cursors: where a list continues, whatever is added in front meanwhile."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from deltareg.errors import InvalidInput
from deltareg.wire import Page

Row = TypeVar("Row")
Item = TypeVar("Item")
Place = TypeVar("Place")
MAX_LIMIT = 200


def read_cursor(cursor: str | None) -> str | None:
    """Decode the place where a list continues.

    Raises:
        InvalidInput: The cursor is not from this server.
    """
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii")).decode()
    except (binascii.Error, ValueError) as error:
        raise _not_ours() from error
    if not text.isprintable():
        raise _not_ours()
    return text


def read_number_cursor(cursor: str | None) -> int | None:
    """Decode a cursor that is a number.

    Raises:
        InvalidInput: The cursor is not from this server.
    """
    text = read_cursor(cursor)
    if text is None:
        return None
    if not _is_number(text):
        raise _not_ours()
    return int(text)


def read_mark_cursor(cursor: str | None) -> tuple[int, str] | None:
    """Decode the cursor of a list that is sorted by time and id.

    Raises:
        InvalidInput: The cursor is not from this server.
    """
    text = read_cursor(cursor)
    if text is None:
        return None
    at, slash, row_id = text.partition("/")
    if not slash or not _is_number(at):
        raise _not_ours()
    return int(at), row_id


def page(rows: Sequence[Row], limit: int, *, show: Callable[[Row], Item], key: Callable[[Row], object]) -> Page[Item]:
    """Build a page of at most `limit` items from up to `limit + 1` rows."""
    visible = rows[:limit]
    more = len(rows) > limit
    token = cursor_at(key(visible[-1])) if more else None
    return Page(items=[show(row) for row in visible], next_cursor=token)


def cursor_at(place: object) -> str:
    """Encode the cursor of what comes after a place in a list."""
    return base64.urlsafe_b64encode(str(place).encode()).decode()


def readable(
    rows_after: Callable[[Place | None], Sequence[Row]],
    *,
    start: Place | None,
    limit: int,
    place: Callable[[Row], Place],
    is_seen: Callable[[Row], bool],
) -> list[Row]:
    """Gather up to `limit + 1` rows that a caller may see, from as many queries as that takes.

    So a page is full, and its cursor never reveals a row that was left out.

    Args:
        rows_after: Returns up to `limit + 1` rows of the list after a place.
        start: Where to begin.
        limit: How many items a page has.
        place: Returns the place of a row.
        is_seen: Whether the caller may see a row.
    """
    gathered: list[Row] = []
    while True:
        rows = rows_after(start)
        gathered += [row for row in rows if is_seen(row)]
        if len(rows) <= limit or len(gathered) > limit:
            return gathered[: limit + 1]
        start = place(rows[-1])


def check_limit(limit: int) -> int:
    """Check and return the number of items asked for.

    Raises:
        InvalidInput: The number is less than 1 or more than 200.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"limit must be 1 to {MAX_LIMIT}, not {limit}")
    return limit


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


def _not_ours() -> InvalidInput:
    return InvalidInput("not a cursor of this server", fix="start again without cursor")
