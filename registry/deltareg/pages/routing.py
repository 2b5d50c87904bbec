"""Turns pages into routes: finds the caller, answers as HTML or JSON, and shows errors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import anyio.to_thread
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deltareg.errors import ApprovalDue, DeltaregError, InvalidInput, Unauthenticated
from deltareg.pages.answering import NEVER_KEPT, html, json_answer, see_other, wants_json
from deltareg.pages.asking import ViewRequest
from deltareg.pages.cookie import request_id_of, secret_of, session_of
from deltareg.pages.downloads import csv_answer, svg_answer
from deltareg.pages.frame import FormRefusal, frame_of
from deltareg.pages.guard import ROOT, check_form_word, check_origin, check_reading
from deltareg.pages.problems import Endpoint, guard_endpoint
from deltareg.pages.tables import PageTable
from deltareg.service.registry import Registry
from deltareg.wire import describe_problem, status_of
from deltareg.wire.messages import Answer

_FIELDS_MOST = 64


@dataclass(frozen=True, slots=True)
class PageExport:
    """The content of a page as a file for another program, with its media type and name."""

    media: str
    file: str
    write: Callable[[ViewRequest], str]


@dataclass(frozen=True, slots=True)
class View:
    """A page.

    Attributes:
        path: Its path below `/ui`.
        load: Returns its content, which is also its JSON.
        template: The template that draws the content.
        area: The area of the registry that it belongs to, in the bar on top.
        table: Its list as CSV, if it has one.
        plot: Draws its content as SVG, if it can be drawn.
        texts: The further files it is exported as, by the word for `?format=`.
    """

    path: str
    load: Callable[[ViewRequest], Answer]
    template: str
    area: str = ""
    table: PageTable[Any] | None = None  # of what `load` gives
    plot: Callable[..., str] | None = None
    texts: Mapping[str, PageExport] = field(default_factory=dict[str, PageExport])


@dataclass(frozen=True, slots=True)
class FormReply:
    """A form that is shown again: its content, and the HTTP status."""

    page: Answer
    status: int = 200


@dataclass(frozen=True, slots=True)
class FormView:
    """A page with a form, which is shown again with its effect or with its errors.

    Attributes:
        path: Its path below `/ui`.
        load: Returns its content before anything is sent.
        act: Handles the sent form; returns the address to go to, or what the form shows next.
        template: The template that draws it.
        area: The area of the registry, as of a view.
    """

    path: str
    load: Callable[[ViewRequest], Answer]
    act: Callable[[ViewRequest], str | FormReply]
    template: str
    area: str = ""


@dataclass(frozen=True, slots=True)
class FormPlace:
    """The page that a form is on, and the query with which the page shows that form."""

    view: View
    query: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class FormAction:
    """The action of a form.

    Attributes:
        path: Its path below `/ui`.
        act: Handles the sent form; returns the address to go to.
        place: The page that the form is on, which is shown again with the reason if the form is
            refused; None if the form has no fields to fill in.
    """

    path: str
    act: Callable[[ViewRequest], str]
    place: View | Callable[[ViewRequest], FormPlace] | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """An address that redirects to another one."""

    path: str
    lead: Callable[[ViewRequest], str]


@dataclass(frozen=True, slots=True)
class OwnRoutes:
    """Routes that a file builds itself, for callers without a session or for a stream.

    Attributes:
        make: Returns the routes of a registry.
    """

    make: Callable[[Registry], list[Route]]


Page = View | FormView | FormAction | Redirect | OwnRoutes


def routes_of(registry: Registry, page: Page) -> list[Route]:
    """Return the routes of a page."""
    endpoints: dict[str, Endpoint]
    match page:
        case OwnRoutes():
            return page.make(registry)
        case View():
            endpoints = {"GET": _view(registry, page)}
        case FormView():
            view = View(page.path, page.load, page.template, page.area)
            endpoints = {"GET": _view(registry, view), "POST": _form(registry, page)}
        case Redirect():
            endpoints = {"GET": _jump(registry, page)}
        case FormAction():
            endpoints = {"POST": _action(registry, page)}
    return [Route(page.path, guard_endpoint(endpoint), methods=[method]) for method, endpoint in endpoints.items()]


def _view(registry: Registry, view: View) -> Endpoint:
    def look(request: Request) -> Response:
        format_word = request.query_params.get("format", "")
        is_whole = format_word == "csv"
        ask = replace(_open_ask(registry, request), is_whole=is_whole)
        elsewhere = ask.current_path
        if elsewhere is not None:  # a link from before it was renamed
            query = request.url.query
            return see_other(f"{elsewhere}?{query}" if query else elsewhere)
        text = view.texts.get(format_word)
        if text is not None:
            return _file(text, ask)
        shown_page = view.load(ask)
        if is_whole and view.table is not None:
            return csv_answer(ask, view.table, shown_page, view.load)
        if format_word == "svg" and view.plot is not None:
            return svg_answer(ask, view.plot(shown_page))
        if wants_json(request):
            return json_answer(shown_page)
        kinds = [("CSV", view.table), ("SVG", view.plot)]
        frame = frame_of(ask, view.area, away=[kind for kind, made in kinds if made is not None])
        return html(view.template, page=shown_page, frame=frame)

    async def endpoint(request: Request) -> Response:
        check_reading(request)
        return await anyio.to_thread.run_sync(look, request)

    return endpoint


def _jump(registry: Registry, jump: Redirect) -> Endpoint:
    def look(request: Request) -> Response:
        return see_other(jump.lead(_open_ask(registry, request)))

    async def endpoint(request: Request) -> Response:
        check_reading(request)
        return await anyio.to_thread.run_sync(look, request)

    return endpoint


def _form(registry: Registry, page: FormView) -> Endpoint:
    def act(request: Request, form: Mapping[str, str]) -> Response:
        ask = _accept_form(registry, request, form)
        outcome = page.act(ask)
        if isinstance(outcome, str):
            return see_other(outcome)
        frame = frame_of(ask, page.area)
        return html(page.template, status=outcome.status, page=outcome.page, frame=frame)

    async def endpoint(request: Request) -> Response:
        check_origin(request)
        form = await read_form(request)
        return await anyio.to_thread.run_sync(act, request, form)

    return endpoint


def _action(registry: Registry, action: FormAction) -> Endpoint:
    def act(request: Request, form: Mapping[str, str]) -> Response:
        ask = _accept_form(registry, request, form)
        try:
            return see_other(action.act(ask))
        except (Unauthenticated, ApprovalDue):
            raise
        except DeltaregError as error:
            if action.place is None or status_of(error) >= 500 or wants_json(request):
                raise
            place = FormPlace(action.place) if isinstance(action.place, View) else action.place(ask)
            return _shown_again(ask, place, error)

    async def endpoint(request: Request) -> Response:
        check_origin(request)
        form = await read_form(request)
        return await anyio.to_thread.run_sync(act, request, form)

    return endpoint


def _shown_again(ask: ViewRequest, place: FormPlace, error: DeltaregError) -> Response:
    """Show the page of a refused form again, with the reason and the form's fields.

    Raises:
        DeltaregError: The original error, if that page does not exist any more either.
    """
    view, query = place.view, urlencode(place.query)
    parts: dict[str, object] = ask.request.path_params
    path = ROOT + view.path.format(**{name: quote(str(part)) for name, part in parts.items()})
    looking = replace(ask, instead=QueryParams(query))
    try:
        shown_page = view.load(looking)
    except DeltaregError:
        raise error from None
    document = describe_problem(error, request_id=request_id_of(ask.request))
    refusal = FormRefusal(document, f"{path}?{query}" if query else path)
    frame = frame_of(looking, view.area, refusal=refusal)
    return html(view.template, status=document.status, page=shown_page, frame=frame)


def _accept_form(registry: Registry, request: Request, form: Mapping[str, str]) -> ViewRequest:
    """Accept a form of a logged-in caller.

    Raises:
        Forbidden: The form belongs to another session.
    """
    ask = _open_ask(registry, request)
    check_form_word(form.get("word", ""), secret_of(request))
    return replace(ask, form=form)


def _open_ask(registry: Registry, request: Request) -> ViewRequest:
    session = session_of(request, registry)
    request.state.caller = session.caller  # should it fail, its page has the menu
    request.state.principal_id = session.caller.principal_id  # whose limits count
    request.state.principal_name = session.caller.principal
    return ViewRequest(registry, session, request)


async def read_form(request: Request) -> dict[str, str]:
    """Read a form as browsers send it; of a repeated field, the last value counts.

    Raises:
        InvalidInput: It has more fields than any form of ours.
    """
    raw = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(raw, keep_blank_values=True, max_num_fields=_FIELDS_MOST))
    except ValueError as error:
        raise InvalidInput(f"a form has at most {_FIELDS_MOST} fields") from error


def _file(text: PageExport, ask: ViewRequest) -> Response:
    headers = {**NEVER_KEPT, "Content-Disposition": f'attachment; filename="{text.file}"'}
    return Response(text.write(ask), 200, headers, text.media)
