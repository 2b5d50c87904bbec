"""Answers of the server as JSON documents, with the fields first that scripts rely on."""

from collections.abc import Sequence
from typing import TypeVar

from deltareg.client.results.listing import Listing
from deltareg.wire import Answer

Item = TypeVar("Item", bound=Answer)


def fields(message: Answer, *first: str) -> dict[str, object]:
    """Give the fields of a message, those named before all others."""
    everything: dict[str, object] = message.model_dump(mode="json")
    return {**{name: everything[name] for name in first}, **everything}


def as_it_is(message: Answer, *first: str) -> dict[str, object]:
    """Give the fields of a thing that is only looked at: whether a push has made it says nothing.

    Only the answer to a push can say that, so that elsewhere `created` would be false throughout.
    """
    document = fields(message, *first)
    document.pop("created", None)
    return document


def page_fields(page: Listing[Item]) -> dict[str, object]:
    """Give a page of a list as its items and where to go on."""
    return items_fields([as_it_is(item) for item in page.items], next_cursor=page.next_cursor)


def items_fields(items: Sequence[dict[str, object]], *, next_cursor: str | None = None) -> dict[str, object]:
    """Give a list as its items and where to go on; on its last page nowhere."""
    return {"items": list(items), "next_cursor": next_cursor}
