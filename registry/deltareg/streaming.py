"""Server-sent events: each reader has a coroutine, which costs nothing while it waits.

One query for all readers of a process shows whether there is anything new; only then is each of
them served, with its own rights.
"""

import math
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request

from deltareg.errors import DeltaregError, Unavailable
from deltareg.shared_state import StreamReaders, shared_state_of

LOOK_S, HEARTBEAT_S, TOKEN_S = 0.5, 15.0, 5.0
MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_RETRY_MS = 2_000
Part = TypeVar("Part")
Seen = TypeVar("Seen")


class StreamSource(Protocol[Part]):
    """A source of a stream, in parts."""

    def write_part(self, part: Part, /) -> str:
        """Format the events of a part, each with its id; empty if there are none."""
        ...

    def place(self, part: Part, /) -> str:
        """Return the id after a part, from which a reader continues."""
        ...

    def is_more(self, part: Part, /) -> bool:
        """Whether more is available already."""
        ...

    def is_last(self, part: Part, /) -> bool:
        """Whether nothing will ever come after a part."""
        ...

    def empty_after(self, part: Part, /) -> Part:
        """Return the part after this one while there is nothing new."""
        ...

    def look(self, part: Part, /) -> Part:
        """Return the part after this one, with the reader's current rights; may block."""
        ...

    async def has_news(self, part: Part, /) -> bool:
        """Whether a look after a part is worthwhile."""
        ...


@dataclass(slots=True)
class SharedLook(Generic[Seen]):
    """One look shared by everybody who asks at about the same time.

    Attributes:
        look: Performs the look; may block.
        seen: The last result.
        limiter: The threads that look; None for those that everything takes.
    """

    look: Callable[[], Seen]
    seen: Seen
    limiter: anyio.CapacityLimiter | None = None
    _at: float = float("-inf")
    _looking: anyio.Lock = field(default_factory=anyio.Lock)

    async def take(self) -> Seen:
        """Return the current result; the last one if the database does not answer."""
        async with self._looking:
            if anyio.current_time() - self._at >= LOOK_S:
                try:
                    self.seen = await anyio.to_thread.run_sync(self.look, limiter=self.limiter)
                except Unavailable:
                    return self.seen
                self._at = anyio.current_time()
        return self.seen


async def is_in_vain(request: Request) -> bool:
    """Whether waiting is pointless: the client has gone, or the server is stopping."""
    return shared_state_of(request).is_closing or await request.is_disconnected()


async def server_sent(
    request: Request,
    readers: StreamReaders,
    source: StreamSource[Part],
    part: Part,
    *,
    hello: str,
    lasts_s: float | None = None,
) -> AsyncGenerator[str, None]:
    """Yield the messages to a reader until it leaves, the server stops, or it may no longer read.

    Nothing is read ahead: the next part is requested when the last one has been sent.

    Args:
        request: The reader's request.
        readers: All readers of the process.
        source: The source of the stream.
        part: The first part for the reader.
        hello: The text of the first comment.
        lasts_s: Seconds after which it ends if nothing is pending; None for never.
    """
    ends_at = anyio.current_time() + (math.inf if lasts_s is None else lasts_s)
    reader = _Reader(source)
    readers.number += 1
    try:
        begin = "" if source.write_part(part) else f"id: {source.place(part)}\n"
        yield f"retry: {_RETRY_MS}\n{begin}: {hello}\n\n"
        while True:
            if message := reader.say(part):
                yield message
            if source.is_last(part):
                return
            if not source.is_more(part):
                if anyio.current_time() >= ends_at:
                    return
                await anyio.sleep(LOOK_S)
            if await is_in_vain(request):
                return
            part = await reader.next_part(part)
    except DeltaregError as error:
        # A stream that has begun has no status any more to say it with.
        yield f"event: error\ndata: {error.code}\n\n"
    finally:
        readers.number -= 1


@dataclass(slots=True)
class _Reader(Generic[Part]):
    """The state of a reader: its place, and when it was last sent to and its rights checked."""

    source: StreamSource[Part]
    _told: str = ""
    _spoken_at: float = field(default_factory=anyio.current_time)
    _looked_at: float = field(default_factory=anyio.current_time)

    def say(self, part: Part) -> str:
        """Format a part; without events, now and then a keep-alive or the reader's new place.

        An id alone moves a reader past events that it does not want.
        """
        now, place = anyio.current_time(), self.source.place(part)
        message = self.source.write_part(part)
        if not message and now - self._spoken_at >= HEARTBEAT_S:
            message = ": still here\n\n" if place == self._told else f"id: {place}\n\n"
        if message:
            self._spoken_at, self._told = now, place
        return message

    async def next_part(self, part: Part) -> Part:
        """Return the next part: by a look if there is news or the token must be checked again."""
        is_due = self.source.is_more(part) or anyio.current_time() - self._looked_at >= TOKEN_S
        if not is_due and not await self.source.has_news(part):
            return self.source.empty_after(part)
        self._looked_at = anyio.current_time()
        return await anyio.to_thread.run_sync(_patient, self.source, part)


def _patient(source: StreamSource[Part], part: Part) -> Part:
    """Look; wait while the database restarts, as the server does."""
    try:
        return source.look(part)
    except Unavailable:
        return source.empty_after(part)
