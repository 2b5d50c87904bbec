"""Downloads from a page: its list as CSV, its drawing as SVG."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from deltareg.drawing.strokes import as_file
from deltareg.pages.asking import ViewRequest
from deltareg.pages.cookie import session_of
from deltareg.pages.guard import HEADERS
from deltareg.pages.tables import MEDIA_TYPE, PageTable, parts
from deltareg.wire import Answer

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


def csv_answer(
    ask: ViewRequest, table: PageTable[Answer], found: Answer, load: Callable[[ViewRequest], Answer]
) -> StreamingResponse:
    """Send a list as CSV, from the requested page to its end.

    Each part checks the session anew, and holds neither a thread nor a connection while it is sent.
    If the session ends meanwhile, the answer breaks off.
    """

    def more(cursor: str) -> Answer:
        session = session_of(ask.request, ask.registry)
        return load(replace(ask, session=session, further=cursor))

    def send_parts() -> Iterator[str]:
        yield from parts(table, found, more)

    return StreamingResponse(send_parts(), media_type=MEDIA_TYPE, headers=_headers(ask.request, "csv"))


def svg_answer(ask: ViewRequest, plot: str) -> Response:
    """Send a drawing as a self-contained file: with its colours, without scripts."""
    headers = _headers(ask.request, "svg")
    return Response(as_file(plot), media_type="image/svg+xml", headers=headers)


def _headers(request: Request, ending: str) -> dict[str, str]:
    path = request.url.path.removeprefix("/ui/").replace("/", "-")
    name = _NO_NAME.sub("_", path).strip("-_.")[:80] or "registry"
    return {
        **HEADERS,
        "Cache-Control": "no-store",
        "Vary": "Accept, Cookie",
        "Content-Disposition": f'attachment; filename="{name}.{ending}"',
    }
