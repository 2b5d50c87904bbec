"""Server-sent events: each reader is looked after by a coroutine, and costs nothing while it waits.

One query for all readers of a process tells whether there is anything new; only then is each of
them looked at, with its own rights.
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
    """What is streamed, in parts."""

    def write_part(self, part: Part, /) -> str:
        """Write what there is to say, each event with its id; empty for nothing."""
        ...

    def place(self, part: Part, /) -> str:
        """Give the id behind a part, from which a reader goes on."""
        ...

    def is_more(self, part: Part, /) -> bool:
        """Whether there is more already."""
        ...

    def is_last(self, part: Part, /) -> bool:
        """Whether nothing comes after it, ever."""
        ...

    def empty_after(self, part: Part, /) -> Part:
        """Give the part behind one while nothing is new."""
        ...

    def look(self, part: Part, /) -> Part:
        """Give what comes after a part, with the reader's rights at that moment; may block."""
        ...

    async def has_news(self, part: Part, /) -> bool:
        """Whether a look is worth its while."""
        ...


@dataclass(slots=True)
class SharedLook(Generic[Seen]):
    """One look for all who want to know within the same moment.

    Attributes:
        look: Looks; may block.
        seen: What was seen last.
    """

    look: Callable[[], Seen]
    seen: Seen
    _at: float = float("-inf")
    _looking: anyio.Lock = field(default_factory=anyio.Lock)

    async def take(self) -> Seen:
        """Give what is to be seen; where the database does not answer, what was seen last."""
        async with self._looking:
            if anyio.current_time() - self._at >= LOOK_S:
                try:
                    self.seen = await anyio.to_thread.run_sync(self.look)
                except Unavailable:
                    return self.seen
                self._at = anyio.current_time()
        return self.seen


async def is_in_vain(request: Request) -> bool:
    """Whether a wait is over whatever comes: its client has gone, or the server is to end."""
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
    """Give what is sent to a reader until it has gone, the server ends, or it may not read on.

    Nothing is read ahead: the next part is asked for when the last one has gone out.

    Args:
        request: The reader's.
        readers: All readers of the process.
        source: What is streamed.
        part: What the reader gets first.
        hello: What stands in the first comment.
        lasts_s: After how long it ends where nothing waits, seconds; None for never.
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
    """What is known of a reader: where it is, when it was spoken to and its rights looked at."""

    source: StreamSource[Part]
    _told: str = ""
    _spoken_at: float = field(default_factory=anyio.current_time)
    _looked_at: float = field(default_factory=anyio.current_time)

    def say(self, part: Part) -> str:
        """Write a part; or now and then that the stream still is there, with where it is.

        An id alone moves a reader on, past what it does not want to hear of.
        """
        now, place = anyio.current_time(), self.source.place(part)
        message = self.source.write_part(part)
        if not message and now - self._spoken_at >= HEARTBEAT_S:
            message = ": still here\n\n" if place == self._told else f"id: {place}\n\n"
        if message:
            self._spoken_at, self._told = now, place
        return message

    async def next_part(self, part: Part) -> Part:
        """Give what comes after a part: a look where there is news, or the token's turn comes."""
        is_due = self.source.is_more(part) or anyio.current_time() - self._looked_at >= TOKEN_S
        if not is_due and not await self.source.has_news(part):
            return self.source.empty_after(part)
        self._looked_at = anyio.current_time()
        return await anyio.to_thread.run_sync(_patient, self.source, part)


def _patient(source: StreamSource[Part], part: Part) -> Part:
    """Look; while the database restarts, the reader waits for it as the server does."""
    try:
        return source.look(part)
    except Unavailable:
        return source.empty_after(part)
