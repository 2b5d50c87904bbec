"""Logging in and out: by a one-time code, or by a token that is pasted."""

from collections.abc import Iterator, Sequence
from functools import partial

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deltareg.errors import DeltaregError
from deltareg.pages.answering import html, see_other
from deltareg.pages.asking import ViewRequest
from deltareg.pages.cookie import bound_to, drop_secret, keep_secret, request_id_of, secret_of, session_of
from deltareg.pages.frame import frame_of
from deltareg.pages.guard import ROOT, check_form_word, check_origin, own_path
from deltareg.pages.problems import problem
from deltareg.pages.routing import FormAction, OwnRoutes, View, read_form
from deltareg.pages.tables import Cell, PageTable
from deltareg.service.access import sessions
from deltareg.service.access.sign_in.ending import end_own_sign_in, list_machines
from deltareg.service.access.sign_in.providers import list_providers
from deltareg.service.access.tokens import whoami
from deltareg.service.registry import Registry
from deltareg.wire import Answer, Page, SessionInfo, WhoAmI, status_of
from deltareg.wire.sign_in import SignInInfo, SignInProvider

PATH = "/login"


class LoginPage(Answer):
    """The login form: where to go afterwards, with what, and what was wrong with the last attempt.

    `is_direct` says that no other site sent the browser here, `is_out` that it has just been logged
    out.
    """

    next: str
    providers: Sequence[SignInProvider] = ()
    is_direct: bool
    is_out: bool = False
    wrong: str = ""
    fix: str = ""


class SessionsPage(Answer):
    """Who the caller is, what they may do, and the browsers they are logged in with.

    `this` is the session of this browser.
    """

    this: int
    who: WhoAmI
    sessions: Page[SessionInfo]
    machines: Sequence[SignInInfo] = ()


def routes(registry: Registry) -> list[Route]:
    """Return the routes that need no session."""

    async def show(request: Request) -> Response:
        return await anyio.to_thread.run_sync(login_form, registry, request)

    async def log_in(request: Request) -> Response:
        try:
            check_origin(request)
            form = await read_form(request)
        except DeltaregError as error:
            return problem(request, error)
        begin = partial(_begin, registry, request, form)
        return await anyio.to_thread.run_sync(begin)

    async def log_out(request: Request) -> Response:
        try:
            check_origin(request)
            form = await read_form(request)
            check_form_word(form.get("word", ""), secret_of(request))
            await anyio.to_thread.run_sync(_end, registry, request)
        except DeltaregError as error:
            if status_of(error) != 401:  # who is logged out already is where they want to be
                return problem(request, error)
        answer = see_other(f"{ROOT}{PATH}?out=yes")
        drop_secret(request, answer)
        return answer

    return [
        Route(PATH, show, methods=["GET"]),
        Route(PATH, log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
    ]


def login_form(
    registry: Registry, request: Request, error: DeltaregError | None = None, next_path: str = ""
) -> Response:
    """Answer with the log-in page, and what was wrong with the last attempt."""
    # Another site may link here with a code of its own, and have somebody work as somebody else: so
    # a code that comes with the address is sent by itself only where the browser came from nowhere.
    site = request.headers.get("sec-fetch-site", "none")
    page = LoginPage(
        next=own_path(next_path or request.query_params.get("next", "")),
        providers=list_providers(registry),
        is_direct=site in {"none", "same-origin"},
        is_out=request.query_params.get("out") == "yes",
        wrong="" if error is None else error.message,
        fix="" if error is None else error.fix,
    )
    status = 200 if error is None else status_of(error)
    frame = frame_of(None, "", request=request)
    return html("login.html.jinja", status=status, page=page, frame=frame)


def _begin(registry: Registry, request: Request, form: dict[str, str]) -> Response:
    code, token = form.get("code", "").strip(), form.get("token", "").strip()
    begin = sessions.begin_by_code if code else sessions.begin_by_token
    try:
        secret = begin(
            registry,
            code or token,
            bound_to=bound_to(request),
            browser=request.headers.get("user-agent", ""),
            request_id=request_id_of(request),
        )
    except DeltaregError as error:
        return login_form(registry, request, error, form.get("next", ""))
    answer = see_other(own_path(form.get("next", "")))
    keep_secret(request, answer, secret)
    return answer


def _end(registry: Registry, request: Request) -> None:
    session = session_of(request, registry)
    sessions.end_session(registry, session.caller, session.id)


def _list(ask: ViewRequest) -> SessionsPage:
    browsers = sessions.list_sessions(ask.registry, ask.caller)
    who = whoami(ask.registry, ask.caller)
    machines = list_machines(ask.registry, ask.caller)
    return SessionsPage(this=ask.session.id, who=who, sessions=browsers, machines=machines)


def _end_one(ask: ViewRequest) -> str:
    sessions.end_session(ask.registry, ask.caller, ask.number("session"))
    return f"{ROOT}/sessions"


def _end_machine(ask: ViewRequest) -> str:
    end_own_sign_in(ask.registry, ask.caller, ask.number("machine"))
    return f"{ROOT}/sessions"


def _cells(page: SessionsPage) -> Iterator[Sequence[Cell]]:
    for row in page.sessions.items:
        yield row.id, row.token_id, row.browser, row.begun_at, row.used_at, row.expires_at


_TABLE = PageTable(("session", "token", "browser", "begun_at", "used_at", "expires_at"), _cells)
PAGES = (
    OwnRoutes(routes),
    View("/sessions", _list, "sessions.html.jinja", table=_TABLE),
    FormAction("/sessions/{session}/end", _end_one),
    FormAction("/sessions/machines/{machine}/end", _end_machine),
)
