"""Errors as pages: what is wrong, what to do, and a way on."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from deltareg.errors import DeltaregError, Unauthenticated
from deltareg.host.urls import split_url
from deltareg.pages.answering import NEVER_KEPT, html, see_other, wants_json
from deltareg.pages.cookie import request_id_of, secret_of
from deltareg.pages.frame import Link, frame_of
from deltareg.pages.guard import ROOT, form_word, own_path
from deltareg.wire import ProblemDocument, describe_problem, status_of

logger = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]


def guard_endpoint(endpoint: Endpoint) -> Endpoint:
    """Wrap an endpoint: errors become pages, and callers without a session go to the login."""

    async def answer_request(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Unauthenticated as error:
            if request.method == "GET" and not wants_json(request):
                return see_other(f"{ROOT}/login?{_after_login(request)}")
            return problem(request, error)
        except DeltaregError as error:
            return problem(request, error)
        except Exception:  # what nobody thought of is told by its id, as a page
            request_id = request_id_of(request)
            logger.exception("bug request=%s", request_id, extra={"request_id": request_id})
            fix = "report it with the request id of this answer"
            return problem(request, DeltaregError("the server has a bug", fix=fix))

    return answer_request


def _after_login(request: Request) -> str:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return urlencode({"next": here})


def problem(request: Request, error: DeltaregError) -> Response:
    """Answer with an error: what is wrong, what to do, and the request's id."""
    if status_of(error) >= 500:
        logger.error(
            "page %s answered %d: %s",
            request.url.path,
            status_of(error),
            error.message,
            extra={"request_id": request_id_of(request)},
        )
    return show_problem(request, describe_problem(error, request_id=request_id_of(request)))


def show_problem(request: Request, document: ProblemDocument) -> Response:
    """Answer with a problem document, as a page or as JSON."""
    if wants_json(request):
        raw = document.model_dump_json()
        return Response(raw, document.status, NEVER_KEPT, "application/problem+json")
    caller = getattr(request.state, "caller", None)
    frame = frame_of(None, "", request=request, caller=caller, word=_word(request))
    way = _way_on(request, document.status)
    return html("problem.html.jinja", status=document.status, page=document, frame=frame, way=way)


def _way_on(request: Request, status: int) -> Link | None:
    """Return a link to try again, or back to the page before; never to an address that acts."""
    query = request.url.query
    if request.method == "GET" and status != HTTPStatus.METHOD_NOT_ALLOWED:
        return Link("Try again", f"{request.url.path}?{query}" if query else request.url.path)
    came = split_url(request.headers.get("referer", ""))
    if not came.path:
        return None
    to = own_path(f"{came.path}?{came.query}" if came.query else came.path)
    return Link("Back to where you were", to)


def _word(request: Request) -> str:
    secret = secret_of(request)
    return form_word(secret) if secret else ""
