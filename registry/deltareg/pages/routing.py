"""From a page to a route: who asks, what is answered, as HTML or JSON, and what errors are."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import anyio.to_thread
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from deltareg.drawing.rendering import render
from deltareg.errors import ApprovalDue, DeltaregError, InvalidInput, Unauthenticated
from deltareg.pages.asking import Ask
from deltareg.pages.cookie import request_id_of, secret_of, session_of
from deltareg.pages.downloads import csv_answer, svg_answer
from deltareg.pages.frame import Link, Refusal, frame_of
from deltareg.pages.guard import (
    HEADERS,
    ROOT,
    check_form_word,
    check_origin,
    check_reading,
    form_word,
    own_path,
)
from deltareg.pages.tables import Table
from deltareg.service.registry import Registry
from deltareg.wire import ProblemDocument, describe_problem, status_of
from deltareg.wire.messages import Answer

logger = logging.getLogger(__name__)
ROOM: Final = "deltareg.pages"
_NEVER_KEPT: Final = {"Cache-Control": "no-store", "Vary": "Accept, Cookie", **HEADERS}
_FIELDS_MOST = 64
Endpoint = Callable[[Request], Awaitable[Response]]


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
        table: What it is as CSV.
        plot: Draws what it is as SVG.
        texts: In which forms it is written besides, by the word for `?format=`.
    """

    path: str
    load: Callable[[Ask], Answer]
    template: str
    area: str = ""
    table: Table[Any] | None = None  # of what `load` gives
    plot: Callable[..., str] | None = None
    texts: Mapping[str, Text] = field(default_factory=dict[str, Text])


@dataclass(frozen=True, slots=True)
class Again:
    """A form that is shown again: what it shows, and the status that this has."""

    page: Answer
    status: int = 200


@dataclass(frozen=True, slots=True)
class Form:
    """A page with a form, which is shown again with what it would do, or with what is wrong in it.

    Attributes:
        path: Below `/ui`.
        load: Gives what it shows before anything is sent.
        act: Does what was sent; gives the page to go on with, or what the form shows next.
        template: What draws it.
        area: As that of a view.
    """

    path: str
    load: Callable[[Ask], Answer]
    act: Callable[[Ask], str | Again]
    template: str
    area: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """The page that a form stands on, and what has to be asked of it to have that form."""

    view: View
    query: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Action:
    """What a form does.

    Attributes:
        path: Below `/ui`.
        act: Does what was sent; gives the page to go on with.
        place: The page that the form stands on, which is shown again with the reason when it is
            refused; None where there is nothing to write in it.
    """

    path: str
    act: Callable[[Ask], str]
    place: View | Callable[[Ask], Place] | None = None


@dataclass(frozen=True, slots=True)
class Jump:
    """An address that leads on to another one."""

    path: str
    lead: Callable[[Ask], str]


Page = View | Form | Action | Jump


def routes_of(registry: Registry, page: Page) -> list[Route]:
    """Make the routes of a page."""
    made: dict[str, Endpoint]
    match page:
        case View():
            made = {"GET": _view(registry, page)}
        case Form():
            shown = View(page.path, page.load, page.template, page.area)
            made = {"GET": _view(registry, shown), "POST": _form(registry, page)}
        case Jump():
            made = {"GET": _jump(registry, page)}
        case Action():
            made = {"POST": _action(registry, page)}
    return [
        Route(page.path, guarded(endpoint), methods=[method]) for method, endpoint in made.items()
    ]


def _view(registry: Registry, view: View) -> Endpoint:
    def look(request: Request) -> Response:
        asked = request.query_params.get("format", "")
        is_whole = asked == "csv"
        ask = replace(_asked(registry, request), is_whole=is_whole)
        text = view.texts.get(asked)
        if text is not None:
            return _file(text, ask)
        found = view.load(ask)
        if is_whole and view.table is not None:
            return csv_answer(ask, view.table, found, view.load)
        if asked == "svg" and view.plot is not None:
            return svg_answer(ask, view.plot(found))
        if wants_json(request):
            return json_answer(found)
        kinds = [("CSV", view.table), ("SVG", view.plot)]
        frame = frame_of(ask, view.area, away=[kind for kind, made in kinds if made is not None])
        return html(view.template, page=found, frame=frame)

    async def endpoint(request: Request) -> Response:
        check_reading(request)
        return await anyio.to_thread.run_sync(look, request)

    return endpoint


def _jump(registry: Registry, jump: Jump) -> Endpoint:
    def look(request: Request) -> Response:
        return see_other(jump.lead(_asked(registry, request)))

    async def endpoint(request: Request) -> Response:
        check_reading(request)
        return await anyio.to_thread.run_sync(look, request)

    return endpoint


def _form(registry: Registry, page: Form) -> Endpoint:
    def act(request: Request, form: Mapping[str, str]) -> Response:
        ask = _sent(registry, request, form)
        found = page.act(ask)
        if isinstance(found, str):
            return see_other(found)
        frame = frame_of(ask, page.area)
        return html(page.template, status=found.status, page=found.page, frame=frame)

    async def endpoint(request: Request) -> Response:
        check_origin(request)
        form = await read_form(request)
        return await anyio.to_thread.run_sync(act, request, form)

    return endpoint


def _action(registry: Registry, action: Action) -> Endpoint:
    def act(request: Request, form: Mapping[str, str]) -> Response:
        ask = _sent(registry, request, form)
        try:
            return see_other(action.act(ask))
        except (Unauthenticated, ApprovalDue):
            raise
        except DeltaregError as error:
            if action.place is None or status_of(error) >= 500 or wants_json(request):
                raise
            place = Place(action.place) if isinstance(action.place, View) else action.place(ask)
            return _shown_again(ask, place, error)

    async def endpoint(request: Request) -> Response:
        check_origin(request)
        form = await read_form(request)
        return await anyio.to_thread.run_sync(act, request, form)

    return endpoint


def _shown_again(ask: Ask, place: Place, error: DeltaregError) -> Response:
    """Show the page of a form that was refused, with why and with what stood in it.

    Raises:
        DeltaregError: What was wrong, where that page is not there any more either.
    """
    view, query = place.view, urlencode(place.query)
    parts: dict[str, object] = ask.request.path_params
    path = ROOT + view.path.format(**{name: quote(str(part)) for name, part in parts.items()})
    looking = replace(ask, instead=QueryParams(query))
    try:
        found = view.load(looking)
    except DeltaregError:
        raise error from None
    told = describe_problem(error, request_id=request_id_of(ask.request))
    refusal = Refusal(told, f"{path}?{query}" if query else path)
    frame = frame_of(looking, view.area, refusal=refusal)
    return html(view.template, status=told.status, page=found, frame=frame)


def _sent(registry: Registry, request: Request, form: Mapping[str, str]) -> Ask:
    """Take a form of somebody who is logged in.

    Raises:
        Forbidden: It is of another session.
    """
    ask = _asked(registry, request)
    check_form_word(form.get("word", ""), secret_of(request))
    return replace(ask, form=form)


def _asked(registry: Registry, request: Request) -> Ask:
    session = session_of(request, registry)
    request.state.who = session.caller.principal  # should it fail, its page has the menu
    return Ask(registry, session, request)


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


def guarded(endpoint: Endpoint) -> Endpoint:
    """Answer errors as pages, and whoever is not logged in with the way there."""

    async def answered(request: Request) -> Response:
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

    return answered


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
    who = str(getattr(request.state, "who", ""))
    frame = frame_of(None, "", request=request, who=who, word=_word(request))
    way = _way_on(request, document.status)
    return html("problem.html.jinja", status=document.status, page=document, frame=frame, way=way)


def _way_on(request: Request, status: int) -> Link | None:
    """Lead to what may be tried again; an address that acts is no page to lead to."""
    query = request.url.query
    if request.method == "GET" and status != HTTPStatus.METHOD_NOT_ALLOWED:
        return Link("Try again", f"{request.url.path}?{query}" if query else request.url.path)
    came = urlsplit(request.headers.get("referer", ""))
    if not came.path:
        return None
    to = own_path(f"{came.path}?{came.query}" if came.query else came.path)
    return Link("Back to where you were", to)


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
