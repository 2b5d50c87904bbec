"""From a page to a route: who asks, what is answered, as HTML or JSON, and what errors are."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlencode

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from deltareg.drawing.rendering import render
from deltareg.errors import DeltaregError, InvalidInput, Unauthenticated
from deltareg.pages.asking import Ask
from deltareg.pages.cookie import request_id_of, secret_of, session_of
from deltareg.pages.frame import frame_of
from deltareg.pages.guard import (
    HEADERS,
    ROOT,
    check_form_word,
    check_origin,
    check_reading,
    form_word,
)
from deltareg.service.registry import Registry
from deltareg.wire import ProblemDocument, describe_problem, status_of
from deltareg.wire.messages import Answer

logger = logging.getLogger(__name__)
ROOM: Final = "deltareg.pages"
_NEVER_KEPT: Final = {"Cache-Control": "no-store", "Vary": "Accept, Cookie", **HEADERS}
_FIELDS_MOST = 64
_Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Text:
    """What a page shows, written for another program: a file of a media type and a name."""

    media: str
    file: str
    write: Callable[[Ask], str]


@dataclass(frozen=True, slots=True)
class View:
    """A page.

    Attributes:
        path: Below `/ui`.
        load: Gives what it shows, which is what its JSON holds.
        template: What draws that.
        area: The part of the registry that it belongs to, in the bar on top.
        texts: In which forms it is written besides, by the word for `?format=`.
    """

    path: str
    load: Callable[[Ask], Answer]
    template: str
    area: str = ""
    texts: Mapping[str, Text] = field(default_factory=dict[str, Text])


@dataclass(frozen=True, slots=True)
class Action:
    """What a form does; gives the page to go on with."""

    path: str
    act: Callable[[Ask], str]


@dataclass(frozen=True, slots=True)
class Jump:
    """An address that leads on to another one."""

    path: str
    lead: Callable[[Ask], str]


def route_of(registry: Registry, page: View | Action | Jump) -> Route:
    """Make the route of a page."""
    match page:
        case View():
            return Route(page.path, _guarded(_view(registry, page)), methods=["GET"])
        case Jump():
            return Route(page.path, _guarded(_jump(registry, page)), methods=["GET"])
        case Action():
            return Route(page.path, _guarded(_action(registry, page)), methods=["POST"])


def _view(registry: Registry, view: View) -> _Endpoint:
    def look(request: Request) -> Response:
        ask = Ask(registry, session_of(request, registry), request)
        text = view.texts.get(request.query_params.get("format", ""))
        if text is not None:
            return _file(text, ask)
        found = view.load(ask)
        if wants_json(request):
            return json_answer(found)
        frame = frame_of(ask, view.area)
        return html(view.template, page=found, frame=frame)

    async def endpoint(request: Request) -> Response:
        check_reading(request)
        return await anyio.to_thread.run_sync(look, request)

    return endpoint


def _jump(registry: Registry, jump: Jump) -> _Endpoint:
    def look(request: Request) -> Response:
        return see_other(jump.lead(Ask(registry, session_of(request, registry), request)))

    async def endpoint(request: Request) -> Response:
        check_reading(request)
        return await anyio.to_thread.run_sync(look, request)

    return endpoint


def _action(registry: Registry, action: Action) -> _Endpoint:
    def act(request: Request, form: Mapping[str, str]) -> Response:
        session = session_of(request, registry)
        check_form_word(form.get("word", ""), secret_of(request))
        return see_other(action.act(Ask(registry, session, request, form)))

    async def endpoint(request: Request) -> Response:
        check_origin(request)
        form = await read_form(request)
        return await anyio.to_thread.run_sync(act, request, form)

    return endpoint


async def read_form(request: Request) -> dict[str, str]:
    """Read a form as browsers send it; of a field that is there twice, the last.

    Raises:
        InvalidInput: It has more fields than any form of ours.
    """
    raw = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(raw, keep_blank_values=True, max_num_fields=_FIELDS_MOST))
    except ValueError as error:
        raise InvalidInput(f"a form has at most {_FIELDS_MOST} fields") from error


def _guarded(endpoint: _Endpoint) -> _Endpoint:
    """Answer errors as pages, and whoever is not logged in with the way there."""

    async def guarded(request: Request) -> Response:
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

    return guarded


def _after_login(request: Request) -> str:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return urlencode({"next": here})


def problem(request: Request, error: DeltaregError) -> Response:
    """Answer with an error: what is wrong, what to do, and the id of the request."""
    if status_of(error) >= 500:
        logger.error(
            "page %s answered %d: %s", request.url.path, status_of(error), error.message,
            extra={"request_id": request_id_of(request)},
        )  # fmt: skip
    return show_problem(request, describe_problem(error, request_id=request_id_of(request)))


def show_problem(request: Request, document: ProblemDocument) -> Response:
    """Answer with a problem document, as a page or as JSON."""
    if wants_json(request):
        raw = document.model_dump_json()
        return Response(raw, document.status, _NEVER_KEPT, "application/problem+json")
    frame = frame_of(None, "", request=request, word=_word(request))
    return html("problem.html.jinja", status=document.status, page=document, frame=frame)


def _word(request: Request) -> str:
    secret = secret_of(request)
    return form_word(secret) if secret else ""


def html(template: str, *, status: int = 200, **values: object) -> Response:
    """Answer with a page."""
    return Response(str(render(template, room=ROOM, **values)), status, _NEVER_KEPT, "text/html")


def json_answer(found: Answer) -> Response:
    """Answer with what a page shows, as JSON."""
    return Response(found.model_dump_json(), 200, _NEVER_KEPT, "application/json")


def _file(text: Text, ask: Ask) -> Response:
    kept = {**_NEVER_KEPT, "Content-Disposition": f'attachment; filename="{text.file}"'}
    return Response(text.write(ask), 200, kept, text.media)


def see_other(path: str) -> Response:
    """Lead on to another page."""
    return RedirectResponse(path, 303, _NEVER_KEPT)


def wants_json(request: Request) -> bool:
    """Whether JSON is asked for, by the address or by what the client accepts."""
    asked = request.query_params.get("format")
    if asked is not None:
        return asked == "json"
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted
