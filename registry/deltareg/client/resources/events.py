"""Events: lists them, and follows them as they happen."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from pydantic import ValidationError

from deltareg.client.http.bounds import LINE_BYTES as EVENT_CHARACTERS
from deltareg.client.http.bounds import read_lines
from deltareg.client.resources.resource import Resource
from deltareg.errors import InvalidInput, Unavailable
from deltareg.wire import Event, EventPage

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


class Events(Resource):
    """The events of a registry, as CloudEvents in one order."""

    __slots__ = ()

    def list(
        self,
        of: str | None = None,
        *,
        types: Sequence[str] = (),
        after: str | None = None,
        newest: bool = False,
        limit: int = 50,
    ) -> EventPage:
        """Return a page of events in order: those after a given one, or the newest.

        Args:
            of: A namespace or a line `ns/name`; by default all.
            types: The types, such as `channel.promoted` or `channel.*`; by default all.
            after: The id of the event to go on after, such as `EventPage.next`.
            newest: Whether to return the newest events rather than the oldest.
            limit: How many events at most.
        """
        return self._context.api.get(
            "/events", EventPage, of=of, type=",".join(types) or None, after=after, newest=newest or None, limit=limit
        )

    def follow(
        self,
        of: str | None = None,
        *,
        types: Sequence[str] = (),
        after: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[Event]:
        """Yield events as they happen, each once and in order, until the caller stops.

        A broken connection is opened again, and goes on after the last event received.

        Args:
            of: A namespace or a line `ns/name`; by default all.
            types: The types; by default all.
            after: The id of the event to go on after; by default only new events are returned.
            sleep: Waits a number of seconds before connecting again.

        Raises:
            DeltaregError: The token ended, or the events after that one are no longer kept.
        """
        query = {"of": of, "type": ",".join(types) or None}
        parameters = {name: value for name, value in query.items() if value is not None}
        place, pause_s = _Place(after), _FIRST_PAUSE_S
        while True:
            headers = {"Last-Event-ID": place.last} if place.last is not None else {}
            try:
                with self._context.api.download("/events/stream", query=parameters, headers=headers) as response:
                    for event in place.read(read_lines(response.iter_bytes())):
                        pause_s = _FIRST_PAUSE_S
                        yield event
            except Unavailable:
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            sleep(pause_s)


class _Place:
    """A reader's position: the id of the last event received, kept across connections."""

    __slots__ = ("last",)

    def __init__(self, last: str | None) -> None:
        self.last = last

    def read(self, lines: Iterable[str]) -> Iterator[Event]:
        """Read server-sent events (WHATWG HTML, 9.2.6); drop one that is cut off in the middle."""
        last, data, size = self.last, list[str](), 0
        for line in lines:
            if line:
                size += len(line)
                if size > EVENT_CHARACTERS:
                    raise InvalidInput("an event of the stream is too long", fix="tell who runs the registry")
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "id":
                    last = value
                elif name == "data":
                    data.append(value)
                continue
            self.last, size = last, 0
            if data:
                event = _event("\n".join(data))
                data = []
                if event is not None:
                    yield event


def _event(text: str) -> Event | None:
    """Read an event; None if it is the server's reason for ending the stream."""
    try:
        return Event.model_validate_json(text)
    except ValidationError:
        return None
