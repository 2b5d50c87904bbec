"""Answers to requests: a page, JSON, or a redirect to another page."""

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deltareg.drawing.rendering import render
from deltareg.pages.guard import HEADERS
from deltareg.wire.messages import Answer

ROOM: Final = "deltareg.pages"
NEVER_KEPT: Final = {"Cache-Control": "no-store", "Vary": "Accept, Cookie", **HEADERS}


def html(template: str, *, status: int = 200, **values: object) -> Response:
    """Answer with a page."""
    return Response(str(render(template, room=ROOM, **values)), status, NEVER_KEPT, "text/html")


def json_answer(found: Answer) -> Response:
    """Answer with the content of a page, as JSON."""
    return Response(found.model_dump_json(), 200, NEVER_KEPT, "application/json")


def see_other(path: str) -> Response:
    """Redirect to another page."""
    return RedirectResponse(path, 303, NEVER_KEPT)


def wants_json(request: Request) -> bool:
    """Whether the request asks for JSON, by its address or its `Accept` header."""
    format_word = request.query_params.get("format")
    if format_word is not None:
        return format_word == "json"
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted
