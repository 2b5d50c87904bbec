"""Events: listed, and heard as they come."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from pydantic import ValidationError

from deltareg.client.resources.resource import Resource
from deltareg.errors import Unavailable
from deltareg.wire import Event, EventPage

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


class Events(Resource):
    """What was done in a registry, as others are told of it: CloudEvents, in one order."""

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
        """Give events in their order: on after one, or the newest.

        Args:
            of: Of a namespace or of a line `ns/name`; of all without it.
            types: Which types, `channel.promoted` or `channel.*`; all without it.
            after: The id of the event before the first; `EventPage.next` is one.
            newest: The last ones rather than the first.
            limit: How many at most.
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
        """Give events as they come, each once and in their order, for as long as it is asked.

        A connection that breaks is opened again, and goes on after the last event that came.

        Args:
            of: Of a namespace or of a line `ns/name`; of all without it.
            types: Which types; all without it.
            after: The id of the event before the first; else what comes from now on.
            sleep: Waits so many seconds before it connects again.

        Raises:
            DeltaregError: The token ended, or what came after that event is not kept any more.
        """
        query = {"of": of, "type": ",".join(types) or None}
        parameters = {name: value for name, value in query.items() if value is not None}
        place, pause_s = _Place(after), _FIRST_PAUSE_S
        while True:
            headers = {"Last-Event-ID": place.last} if place.last is not None else {}
            try:
                with self._context.api.download("/events/stream", query=parameters, headers=headers) as response:
                    for event in place.read(response.iter_lines()):
                        pause_s = _FIRST_PAUSE_S
                        yield event
            except Unavailable:
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            sleep(pause_s)


class _Place:
    """Where a reader is: the id of what came last, kept over connections."""

    __slots__ = ("last",)

    def __init__(self, last: str | None) -> None:
        self.last = last

    def read(self, lines: Iterable[str]) -> Iterator[Event]:
        """Read server-sent events (WHATWG HTML, 9.2.6); what is cut off in the middle is left."""
        last, data = self.last, list[str]()
        for line in lines:
            if line:
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "id":
                    last = value
                elif name == "data":
                    data.append(value)
                continue
            self.last = last
            if data:
                event = _event("\n".join(data))
                data = []
                if event is not None:
                    yield event


def _event(text: str) -> Event | None:
    """Read an event; None where the server says why the stream ends."""
    try:
        return Event.model_validate_json(text)
    except ValidationError:
        return None
