"""A request for a page: who asks, about what, with the values of its address and its form."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import QueryParams
from starlette.requests import Request

from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, parse_channel
from deltareg.service.access.sessions import Session
from deltareg.service.registry import Caller, Registry

_LONGEST = 2_000
_MOST_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class ViewRequest:
    """A request of a logged-in caller.

    Attributes:
        registry: The registry.
        session: The session of the caller's browser.
        request: The HTTP request.
        form: The fields of the form that was sent; empty for a request that only reads.
        further: Where an exported list continues; empty at its beginning.
        is_whole: Whether a whole list is exported, instead of showing one page of it.
        instead: The query that replaces the one of the address when a form is shown again.
    """

    registry: Registry
    session: Session
    request: Request
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    further: str = ""
    is_whole: bool = False
    instead: QueryParams | None = None

    @property
    def caller(self) -> Caller:
        """The caller, with the rights of their token."""
        return self.session.caller

    @property
    def line(self) -> LineRef:
        """The line in the path, by the name that it has now."""
        return self.caller.current_line(LineRef.parse(f"{self.part('ns')}/{self.part('name')}"))

    @property
    def channel(self) -> str:
        """The channel in the path, by the name that it has now."""
        return self.caller.current_channel(self.line, parse_channel(self.part("channel")))

    @property
    def current_path(self) -> str | None:
        """The path with the names that its line and channel have now; None where they have them."""
        parts: dict[str, object] = self.request.path_params
        if "ns" not in parts or "name" not in parts:
            return None
        path = self.request.url.path
        now = path.replace(f"/deltas/{self.part('ns')}/{self.part('name')}", f"/deltas/{self.line}", 1)
        if "channel" in parts:
            now = now.replace(f"/channels/{self.part('channel')}", f"/channels/{self.channel}", 1)
        return None if now == path else now

    @property
    def query(self) -> QueryParams:
        """The query of the address, or the one that replaces it."""
        return self.request.query_params if self.instead is None else self.instead

    def part(self, name: str) -> str:
        """Return a part of the path."""
        value: object = self.request.path_params[name]
        return str(value)

    def number(self, name: str) -> int:
        """Return a part of the path that is a number.

        Raises:
            InvalidInput: It is no number that the registry could have given out.
        """
        return _number(self.part(name), name)

    @property
    def cursor(self) -> str | None:
        """The cursor at which a list begins."""
        return self.further or self.text("cursor")

    def most(self, shown: int) -> int:
        """Return how many items of a list to read at once, if a page shows `shown` of them."""
        return _MOST_AT_ONCE if self.is_whole else shown

    def text(self, name: str) -> str | None:
        """Return a value of the query; None if it is empty or missing."""
        return self.query.get(name, "").strip()[:_LONGEST] or None

    def text_number(self, name: str) -> int | None:
        """Return a number of the query; None if it is empty or missing.

        Raises:
            InvalidInput: It is no number.
        """
        text = self.text(name)
        return None if text is None else _number(text, name)

    def form_text(self, name: str) -> str:
        """Return a field of the form, stripped; an empty text if it is missing."""
        return self.form.get(name, "").strip()

    def form_number(self, name: str) -> int:
        """Return a field of the form that is a number.

        Raises:
            InvalidInput: It is no number.
        """
        return _number(self.form_text(name), name)


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise InvalidInput(f"not a number: {name} {text[:40]!r}")
    return int(text)
