"""Streams of events: each reader is looked after by a coroutine, and costs nothing while it waits.

One query for all readers of a process tells whether there is anything new; only then is each of
them looked at, with its own rights.
"""

import math
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from fastapi import Request

from deltareg.api.waiting import is_in_vain
from deltareg.db.queries.outbox import head
from deltareg.db.session import glance
from deltareg.errors import DeltaregError, Unavailable
from deltareg.service.registry import Registry
from deltareg.service.telling.cloud_events import read_id
from deltareg.wire import EventPage

LOOK_S, HEARTBEAT_S, TOKEN_S = 0.5, 15.0, 5.0
_MOST = 500
_RETRY_MS = 2_000


@dataclass(slots=True)
class Streams:
    """The readers of a process.

    Attributes:
        number: How many there are.
        last: The last number of an event, as it was when somebody looked.
    """

    number: int = 0
    last: int = 0
    _looked_at: float = float("-inf")
    _looking: anyio.Lock = field(default_factory=anyio.Lock)

    def check_room(self) -> None:
        """Refuse one more reader than there may be.

        Raises:
            Unavailable: There are as many.
        """
        if self.number >= _MOST:
            raise Unavailable(
                f"{_MOST} streams are open on this server", fix="ask for pages, or come later"
            )

    async def newest(self, registry: Registry) -> int:
        """Give the last number; the database is asked once for all who want to know."""
        async with self._looking:
            if anyio.current_time() - self._looked_at >= LOOK_S:
                self.last = await anyio.to_thread.run_sync(lambda: _last_number(registry))
                self._looked_at = anyio.current_time()
        return self.last


async def server_sent(
    request: Request,
    registry: Registry,
    page: EventPage,
    look: Callable[[str], EventPage],
    *,
    lasts_s: float | None = None,
) -> AsyncGenerator[str, None]:
    """Give what is sent to a reader until it has gone, the server ends, or it may not read on.

    Nothing is read ahead: the next page is asked for when the last one has gone out.

    Args:
        request: The reader's.
        registry: Where events are.
        page: What it gets first; the id to begin after where there is nothing yet.
        look: Gives what comes after an event, with the reader's rights at that moment.
        lasts_s: After how long it ends where nothing waits, seconds; None for never.
    """
    streams: Streams = request.app.state.streams
    reader = _Reader(request, registry, streams, look)
    ends_at = anyio.current_time() + (math.inf if lasts_s is None else lasts_s)
    streams.number += 1
    try:
        begin = "" if page.items else f"id: {page.next}\n"
        yield f"retry: {_RETRY_MS}\n{begin}: events of Delta Registry\n\n"
        while True:
            if said := reader.say(page):
                yield said
            if not page.is_more:
                if anyio.current_time() >= ends_at:
                    return
                await anyio.sleep(LOOK_S)
            if await is_in_vain(request):
                return
            page = await reader.next_page(page)
    except DeltaregError as error:
        # A stream that has begun has no status any more to say it with.
        yield f"event: error\ndata: {error.code}\n\n"
    finally:
        streams.number -= 1


@dataclass(slots=True)
class _Reader:
    """What is known of a reader: where it is, when it was spoken to and its rights looked at."""

    request: Request
    registry: Registry
    streams: Streams
    look: Callable[[str], EventPage]
    _told: str = ""
    _spoken_at: float = field(default_factory=anyio.current_time)
    _looked_at: float = field(default_factory=anyio.current_time)

    def say(self, page: EventPage) -> str:
        """Write events; or now and then that the stream still is there, with where it is.

        An id alone moves a reader on, past what it does not want to hear of.
        """
        now = anyio.current_time()
        if page.items:
            events = (f"id: {each.id}\ndata: {each.model_dump_json()}\n\n" for each in page.items)
            said = "".join(events)
        elif now - self._spoken_at >= HEARTBEAT_S:
            said = ": still here\n\n" if page.next == self._told else f"id: {page.next}\n\n"
        else:
            return ""
        self._spoken_at, self._told = now, page.next
        return said

    async def next_page(self, page: EventPage) -> EventPage:
        """Give what comes after a page: a look where there is news, or the token's turn comes."""
        is_due = page.is_more or anyio.current_time() - self._looked_at >= TOKEN_S
        if not is_due and await self._newest() <= read_id(page.next)[0]:
            return EventPage(items=[], next=page.next, is_more=False)
        self._looked_at = anyio.current_time()
        return await anyio.to_thread.run_sync(lambda: _patient(self.look, page.next))

    async def _newest(self) -> int:
        try:
            return await self.streams.newest(self.registry)
        except Unavailable:
            return self.streams.last


def _patient(look: Callable[[str], EventPage], after: str) -> EventPage:
    """Look; while the database restarts, the reader waits for it as the server does."""
    try:
        return look(after)
    except Unavailable:
        return EventPage(items=[], next=after, is_more=False)


def _last_number(registry: Registry) -> int:
    with glance(registry.engine) as conn:
        found = head(conn)
    return 0 if found is None else found.number
