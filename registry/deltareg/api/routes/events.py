"""Events: page by page, or as they occur."""

from typing import Annotated

import anyio.to_thread
from fastapi import Header, Query, Request
from fastapi.responses import StreamingResponse

from deltareg.api.app_state import state_of
from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.parameters import Seconds
from deltareg.api.problems import request_id_of
from deltareg.api.streams import EventStream
from deltareg.service.access.tokens import authenticate
from deltareg.service.registry import needs_token
from deltareg.service.telling import read as service
from deltareg.streaming import HEADERS, MEDIA_TYPE, server_sent
from deltareg.wire import EventPage

router = closed_router("events", prefix="/events")

Of = Annotated[str | None, Query(max_length=130)]
Types = Annotated[str, Query(alias="type", max_length=1_000)]
After = Annotated[str | None, Query(max_length=40)]
_PART = 100


@router.get("")
def list_events(
    registry: InRegistry,
    by: By,
    of: Of = None,
    type_: Types = "",
    after: After = None,
    *,
    newest: bool = False,
    limit: int = 50,
) -> EventPage:
    """List events in their order, on `after` one or the newest: of all, of `ns` or `ns/name`.

    `type` is one or several, with commas between them: `channel.promoted`, `channel.*`.
    """
    if by.is_anonymous:
        raise needs_token()
    only = service.EventFilter.of(of, type_)
    return service.list_events(registry, by, only, after=after, newest=newest, limit=limit)


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}},
)
async def stream_events(
    request: Request,
    registry: InRegistry,
    by: By,
    of: Of = None,
    type_: Types = "",
    after: After = None,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
    seconds: Seconds = None,
) -> StreamingResponse:
    """Send events as they come, as server-sent events; on from `Last-Event-ID`, else from now.

    Each look asks for the token anew, so the stream ends when it is revoked, and shows what may be
    read at that moment. With `seconds` it ends after so long, and with 0 after what there is.
    """
    if by.is_anonymous:
        raise needs_token()
    readers = state_of(request).streams
    readers.check_room()
    only, start = service.EventFilter.of(of, type_), last_event_id or after
    token = request.headers["Authorization"].partition(" ")[2].strip()

    def look(at: str) -> EventPage:
        caller = authenticate(registry, token, request_id=request_id_of(request))
        return service.list_events(registry, caller, only, after=at, limit=_PART)

    # What is wrong with the question is answered before anything is streamed.
    if start is None:
        page = await anyio.to_thread.run_sync(lambda: service.begin_now(registry, by, only))
    else:
        page = await anyio.to_thread.run_sync(lambda: look(start))
    source = EventStream(state_of(request).newest_event, look)
    body = server_sent(request, readers, source, page, hello="events of Delta Registry", lasts_s=seconds)
    return StreamingResponse(body, media_type=MEDIA_TYPE, headers=HEADERS)
