"""What a page is asked: by whom, about what, and what stands in its address and its form."""

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
    """A request of somebody who is logged in.

    Attributes:
        registry: Where.
        session: Whose browser it is.
        request: As it came.
        form: The fields of a form that was sent; none of what only looks.
        further: Where a list goes on that is taken away whole; empty at its beginning.
        is_whole: Whether all of a list is taken away, and not a page of it looked at.
        instead: What is asked instead of what stands in the address, where a form is shown again.
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
        """Who asks, with what their token allows."""
        return self.session.caller

    @property
    def line(self) -> LineRef:
        """The line in the path."""
        return LineRef.parse(f"{self.part('ns')}/{self.part('name')}")

    @property
    def channel(self) -> str:
        """The channel in the path."""
        return parse_channel(self.part("channel"))

    @property
    def query(self) -> QueryParams:
        """What stands behind the question mark."""
        return self.request.query_params if self.instead is None else self.instead

    def part(self, name: str) -> str:
        """Give a part of the path."""
        value: object = self.request.path_params[name]
        return str(value)

    def number(self, name: str) -> int:
        """Give a part of the path that is a number.

        Raises:
            InvalidInput: It is none that was ever given out.
        """
        return _number(self.part(name), name)

    @property
    def cursor(self) -> str | None:
        """Where a list begins."""
        return self.further or self.text("cursor")

    def most(self, shown: int) -> int:
        """Give how many items of a list to ask for at once, of which a page shows so many."""
        return _MOST_AT_ONCE if self.is_whole else shown

    def text(self, name: str) -> str | None:
        """Give a word of the query; None where it is empty or not there."""
        return self.query.get(name, "").strip()[:_LONGEST] or None

    def text_number(self, name: str) -> int | None:
        """Give a number of the query; None where it is empty or not there.

        Raises:
            InvalidInput: It is none.
        """
        text = self.text(name)
        return None if text is None else _number(text, name)

    def form_text(self, name: str) -> str:
        """Give a field of the form, with nothing around it; empty where it is not there."""
        return self.form.get(name, "").strip()

    def form_number(self, name: str) -> int:
        """Give a field of the form that is a number.

        Raises:
            InvalidInput: It is none.
        """
        return _number(self.form_text(name), name)


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise InvalidInput(f"not a number: {name} {text[:40]!r}")
    return int(text)
