"""The pages as one app below `/ui`, and what leads a browser there from the root."""

from functools import partial

import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from deltareg.errors import DeltaregError
from deltareg.pages.cookie import request_id_of, secret_of, session_of
from deltareg.pages.guard import ROOT
from deltareg.pages.problems import show_problem
from deltareg.pages.routing import routes_of
from deltareg.pages.scan import all_pages, sort_routes
from deltareg.pages.static_files import send_static
from deltareg.service.registry import Caller, Registry
from deltareg.shared_state import REFUSED
from deltareg.wire import API, ProblemDocument, describe_problem
from deltareg.wire.problems import TITLES


def page_routes(registry: Registry, state: State) -> list[Mount | Route]:
    """Make the routes of all pages, for the app that serves the API beside them.

    Args:
        registry: What they show.
        state: That of the app, which says how long things are kept and that the server ends.
    """
    pages = [route for page in all_pages() for route in routes_of(registry, page)]
    app = Starlette(
        routes=[Route("/static/{file}", _send, methods=["GET"]), *sort_routes(pages)],
        middleware=[Middleware(_Doorkeeper)],
        exception_handlers={HTTPException: partial(_http_error, registry)},
    )
    app.state = state
    return [Route("/", _front, methods=["GET"], include_in_schema=False), Mount(ROOT, app)]


class _Doorkeeper:
    """Answers who is turned away at the door with a page: a browser shows no JSON to anybody's liking."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = scope.get("state", {}).get(REFUSED)
        if error is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        answer = show_problem(request, describe_problem(error, request_id=request_id_of(request)))
        await answer(scope, receive, send)


async def _front(request: Request) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(ROOT, 303)
    return JSONResponse({"api": API, "pages": ROOT})


async def _send(request: Request) -> Response:
    return send_static(request)


async def _http_error(registry: Registry, request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if secret_of(request):
        request.state.caller = await anyio.to_thread.run_sync(_caller, registry, request)
    is_absent = error.status_code == 404
    document = ProblemDocument(
        type="about:blank",
        title=TITLES.get(error.status_code, "Error"),
        status=error.status_code,
        code="not_found" if is_absent else "invalid_input",
        detail="there is no such page" if is_absent else str(error.detail),
        request_id=request_id_of(request),
    )
    return show_problem(request, document)


def _caller(registry: Registry, request: Request) -> Caller | None:
    """Return who is logged in, whose page of an error has the menu; None for nobody."""
    try:
        return session_of(request, registry).caller
    except DeltaregError:
        return None
