"""The log of a run as it comes: server-sent events, by the stream that the API's events have.

A reader holds neither a thread nor a connection to the database while it waits, the session is
asked for at every look, and all ends with the run, the session, or after some minutes, when a
browser comes again by itself and goes on behind the last line that it has.
"""

from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from deltareg import streaming
from deltareg.errors import InvalidInput, Unavailable
from deltareg.pages.cookie import secret_of, session_of
from deltareg.pages.guard import HEADERS, check_reading
from deltareg.pages.problems import guard_endpoint
from deltareg.pages.routing import OwnRoutes
from deltareg.refs import parse_id
from deltareg.service.registry import Registry
from deltareg.service.runs import log
from deltareg.shared_state import StreamReaders, shared_state_of
from deltareg.wire import LogLine, RunLog

LASTS_S: Final = 600.0
MOST_OF_ONE: Final = 8
_PAGE: Final = 200


@dataclass(slots=True)
class WatchedLogs:
    """The logs that somebody reads in this process, how often each, and how often each session."""

    registry: Registry
    runs: Counter[str] = field(default_factory=Counter[str])
    sessions: Counter[str] = field(default_factory=Counter[str])
    heads: streaming.SharedLook[dict[str, tuple[int, str]]] = field(init=False)

    def __post_init__(self) -> None:
        """Look at all of them by one query."""
        self.heads = streaming.SharedLook(lambda: log.newest_lines(self.registry, list(self.runs)), {})


@dataclass(frozen=True, slots=True)
class LogStream:
    """The log of a run for one reader."""

    watched: WatchedLogs
    request: Request
    run_id: str

    def write_part(self, part: RunLog) -> str:
        """Write lines, and at the end of the run that it is over."""
        lines = "".join(f"id: {line.seq}\ndata: {format_line(line)}\n\n" for line in part.items)
        return lines + (f"event: end\ndata: {part.run.state}\n\n" if self.is_last(part) else "")

    def place(self, part: RunLog) -> str:
        """Give the number of the last line."""
        return str(part.next_seq)

    def is_more(self, part: RunLog) -> bool:
        """Whether a page was full."""
        return len(part.items) >= _PAGE

    def is_last(self, part: RunLog) -> bool:
        """Whether the run is over and all its lines are there."""
        return part.run.is_over and not self.is_more(part)

    def empty_after(self, part: RunLog) -> RunLog:
        """Give the same without its lines."""
        return part.model_copy(update={"items": []})

    def look(self, part: RunLog) -> RunLog:
        """Give the lines after a part."""
        return self.lines(part.next_seq)

    def lines(self, after: int) -> RunLog:
        """Give the lines after a number, by the rights that the session has at that moment."""
        session = session_of(self.request, self.watched.registry)
        return log.read_log(self.watched.registry, session.caller, self.run_id, after=after)

    async def has_news(self, part: RunLog) -> bool:
        """Whether there are more lines, or the run is in another state."""
        heads = await self.watched.heads.take()
        return heads.get(self.run_id) != (part.next_seq, part.run.state)


def format_line(line: LogLine) -> str:
    """Write a line of a log: when, and what was said."""
    at = line.at[11:19]
    if line.check:
        detail = f", {line.check.detail}" if line.check.detail else ""
        return f"{at}  {line.check.name}: {line.check.verdict}{detail}"
    return f"{at}  to do: {', '.join(line.plan)}" if line.plan else f"{at}  {line.text}"


def routes(registry: Registry) -> list[Route]:
    """Make the route of the stream."""
    watched = WatchedLogs(registry)

    async def follow(request: Request) -> Response:
        check_reading(request)
        readers = shared_state_of(request).streams
        readers.check_room()
        _check_room_of(watched, request)
        source = LogStream(watched, request, parse_id(str(request.path_params["run"]), "run"))
        first = await anyio.to_thread.run_sync(partial(source.lines, _after(request)))
        return StreamingResponse(
            _stream_log(source, readers, first),
            media_type=streaming.MEDIA_TYPE,
            headers={**HEADERS, **streaming.HEADERS},
        )

    return [Route("/runs/{run}/stream", guard_endpoint(follow), methods=["GET"])]


async def _stream_log(source: LogStream, readers: StreamReaders, first: RunLog) -> AsyncGenerator[str, None]:
    watched, secret = source.watched, secret_of(source.request)
    watched.runs[source.run_id] += 1
    watched.sessions[secret] += 1
    try:
        async for text in streaming.server_sent(
            source.request, readers, source, first, hello="the log of a run", lasts_s=LASTS_S
        ):
            yield text
    finally:
        for counter, key in ((watched.runs, source.run_id), (watched.sessions, secret)):
            counter[key] -= 1
            if counter[key] <= 0:
                del counter[key]


def _check_room_of(watched: WatchedLogs, request: Request) -> None:
    if watched.sessions[secret_of(request)] >= MOST_OF_ONE:
        raise Unavailable(f"{MOST_OF_ONE} logs are followed by this browser", fix="close one of them")


def _after(request: Request) -> int:
    text = request.headers.get("last-event-id") or request.query_params.get("after", "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise InvalidInput(f"not a line of a log: {text[:40]!r}")
    return int(text)


PAGES = (OwnRoutes(routes),)
