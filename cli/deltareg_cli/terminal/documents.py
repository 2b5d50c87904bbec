"""The server's answers as JSON documents, with the fields that scripts rely on first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from deltareg.client.results.listing import Listing
    from deltareg.wire import Answer

Item = TypeVar("Item", bound="Answer")


def fields(message: "Answer", *first: str) -> dict[str, object]:
    """Return the fields of a message, the named ones first."""
    everything: dict[str, object] = message.model_dump(mode="json")
    return {**{name: everything[name] for name in first}, **everything}


def as_it_is(message: "Answer", *first: str) -> dict[str, object]:
    """Return the fields of a message without `created`.

    Only the answer to a push knows that field; elsewhere it would always be false.
    """
    document = fields(message, *first)
    document.pop("created", None)
    return document


def page_fields(page: "Listing[Item]") -> dict[str, object]:
    """Return a page of a list as its items and the next cursor."""
    return items_fields([as_it_is(item) for item in page.items], next_cursor=page.next_cursor)


def items_fields(items: Sequence[dict[str, object]], *, next_cursor: str | None = None) -> dict[str, object]:
    """Return a list as its items and the next cursor; the last page has none."""
    return {"items": list(items), "next_cursor": next_cursor}
