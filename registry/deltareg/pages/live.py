"""The log of a run as it grows: server-sent events, over the same stream as the API's events.

A reader holds neither a thread nor a connection to the database while it waits. The session is
checked at every look. The stream ends with the run, with the session, or after some minutes, when a
browser reconnects by itself and continues after the last line that it has.
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
    """The logs being read in this process: how many readers each run and each session has."""

    registry: Registry
    runs: Counter[str] = field(default_factory=Counter[str])
    sessions: Counter[str] = field(default_factory=Counter[str])
    heads: streaming.SharedLook[dict[str, tuple[int, str]]] = field(init=False)

    def __post_init__(self) -> None:
        """Create the shared look, which reads all of them by one query."""
        self.heads = streaming.SharedLook(lambda: log.newest_lines(self.registry, list(self.runs)), {})


@dataclass(frozen=True, slots=True)
class LogStream:
    """The stream of a run's log for one reader."""

    watched: WatchedLogs
    request: Request
    run_id: str

    def write_part(self, part: RunLog) -> str:
        """Format lines, and an end event once the run is over."""
        lines = "".join(f"id: {line.seq}\ndata: {format_line(line)}\n\n" for line in part.items)
        return lines + (f"event: end\ndata: {part.run.state}\n\n" if self.is_last(part) else "")

    def place(self, part: RunLog) -> str:
        """Return the id to go on from."""
        return str(part.next_seq)

    def is_more(self, part: RunLog) -> bool:
        """Whether the page is full, so there may be more lines."""
        return len(part.items) >= _PAGE

    def is_last(self, part: RunLog) -> bool:
        """Whether the run is over and this has its last lines."""
        return part.run.is_over and not self.is_more(part)

    def empty_after(self, part: RunLog) -> RunLog:
        """Return the same part without its lines."""
        return part.model_copy(update={"items": []})

    def look(self, part: RunLog) -> RunLog:
        """Return the lines after a part."""
        return self.lines(part.next_seq)

    def lines(self, after: int) -> RunLog:
        """Return the lines after a number, with the session's rights at that moment."""
        session = session_of(self.request, self.watched.registry)
        return log.read_log(self.watched.registry, session.caller, self.run_id, after=after)

    async def has_news(self, part: RunLog) -> bool:
        """Whether there are more lines, or the run is in another state."""
        heads = await self.watched.heads.take()
        return heads.get(self.run_id) != (part.next_seq, part.run.state)


def format_line(line: LogLine) -> str:
    """Format a line of a log: its time and its text."""
    at = line.at[11:19]
    if line.check:
        detail = f", {line.check.detail}" if line.check.detail else ""
        return f"{at}  {line.check.name}: {line.check.verdict}{detail}"
    return f"{at}  to do: {', '.join(line.plan)}" if line.plan else f"{at}  {line.text}"


def routes(registry: Registry) -> list[Route]:
    """Return the route of the stream."""
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
