"""The common part of a client's resources: the client that they send requests through."""

import os
from typing import TypeAlias, TypeVar

from deltareg.client.context import Context
from deltareg.client.results.listing import Listing, list_pages
from deltareg.wire import Answer, Page
from deltareg.wire.messages import shown_from

shown_from("deltareg.client.results.drawn")  # how answers show in notebooks

AnyPath: TypeAlias = str | os.PathLike[str]
Item = TypeVar("Item", bound=Answer)


class Resource:
    """Things of one kind in one registry; created by the client."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        """Use a client's surroundings."""
        self._context = context

    def __repr__(self) -> str:
        """Describe what it is and of which registry."""
        return f"<{type(self).__name__.lower()} of {self._context.config.server}>"

    def _list(
        self, path: str, kind: type[Page[Item]], /, *, cursor: str | None = None, **query: str | float | bool | None
    ) -> Listing[Item]:
        """List what a path has, from a cursor on; further pages are requested the same way."""
        return list_pages(lambda at: self._context.api.get(path, kind, cursor=at, **query), cursor)
