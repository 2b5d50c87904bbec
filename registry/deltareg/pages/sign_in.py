"""Signing in with a provider: the way there, the way back, and the provider's word that it is over."""

from urllib.parse import quote

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deltareg.errors import DeltaregError, Unauthenticated
from deltareg.pages.answering import html, see_other
from deltareg.pages.cookie import bound_to, drop_sign_in, keep_secret, keep_sign_in, request_id_of, sign_in_secret_of
from deltareg.pages.frame import frame_of
from deltareg.pages.guard import ROOT, check_origin, is_encrypted, own_path
from deltareg.pages.login import login_form
from deltareg.pages.problems import problem
from deltareg.pages.routing import OwnRoutes, read_form
from deltareg.service.access.sign_in import beginning, devices, ending
from deltareg.service.access.sign_in.providers import find_provider
from deltareg.service.registry import Registry
from deltareg.wire import Answer, status_of

_LONGEST = 4_000


class LeavingPage(Answer):
    """Where a browser is about to be sent to."""

    label: str
    url: str


class ArrivedPage(Answer):
    """The machine that somebody has signed in for, and who it is signed in as."""

    machine: str
    principal: str


def routes(registry: Registry) -> list[Route]:
    """Return the routes; none needs a session."""

    async def leave(request: Request) -> Response:
        try:
            check_origin(request)
            form = await read_form(request)
            return await anyio.to_thread.run_sync(_leave, registry, request, form)
        except DeltaregError as error:
            return _refuse(registry, request, error)

    async def come_back(request: Request) -> Response:
        return await anyio.to_thread.run_sync(_come_back, registry, request)

    async def log_out(request: Request) -> Response:
        try:
            form = await read_form(request)
            token = form.get("logout_token", "")
            await anyio.to_thread.run_sync(ending.log_out_by_provider, registry, _provider(request), token)
        except DeltaregError as error:
            status = 400 if status_of(error) < 500 else status_of(error)
            answer = {"error": "invalid_request", "error_description": error.message}
            return JSONResponse(answer, status, {"Cache-Control": "no-store"})
        return Response(status_code=200, headers={"Cache-Control": "no-store"})

    return [
        Route("/sign-in/{provider}", leave, methods=["POST"]),
        Route("/sign-in/{provider}/callback", come_back, methods=["GET"]),
        Route("/sign-in/{provider}/logout", log_out, methods=["POST"]),
    ]


def _leave(registry: Registry, request: Request, form: dict[str, str]) -> Response:
    name, code = _provider(request), form.get("device", "")
    sent = beginning.send_away(
        registry,
        name,
        redirect_uri=_callback(request, name),
        next_path=own_path(form.get("next", "")),
        device_code_hash=devices.hash_code(code) if code else None,
    )
    # No redirect: a policy that lets forms of ours lead to providers would have to name all that
    # these lead on to.
    page = LeavingPage(label=find_provider(registry, name).settings.label, url=sent.url)
    answer = html("leaving.html.jinja", page=page, frame=frame_of(None, "", request=request))
    keep_sign_in(request, answer, sent.secret, for_s=beginning.ATTEMPT_S)
    return answer


def _come_back(registry: Registry, request: Request) -> Response:
    name, asked = _provider(request), request.query_params
    secret, state = sign_in_secret_of(request), asked.get("state", "")[:_LONGEST]
    try:
        if "error" in asked:
            beginning.take_back(registry, name, secret=secret, state=state)
            why = asked.get("error_description") or asked["error"]
            label = find_provider(registry, name).settings.label
            raise Unauthenticated(f"{label} did not sign you in: {why[:200]}", fix="try again, or ask its admin")
        back = beginning.ComingBack(
            secret=secret,
            state=state,
            code=asked.get("code", "")[:_LONGEST],
            issuer=asked.get("iss"),
            redirect_uri=_callback(request, name),
            browser=request.headers.get("user-agent", ""),
            bound_to=bound_to(request),
            request_id=request_id_of(request),
        )
        signed_in = beginning.come_back(registry, name, back)
    except DeltaregError as error:
        answer = _refuse(registry, request, error)
    else:
        if signed_in.secret is None:
            page = ArrivedPage(machine=signed_in.machine, principal=signed_in.principal)
            answer = html("arrived.html.jinja", page=page, frame=frame_of(None, "", request=request))
        else:
            answer = see_other(own_path(signed_in.next))
            keep_secret(request, answer, signed_in.secret)
    drop_sign_in(request, answer)
    return answer


def _refuse(registry: Registry, request: Request, error: DeltaregError) -> Response:
    """Answer with the log-in page, which says what was wrong and lets them try again."""
    if status_of(error) == 404:
        return problem(request, error)
    return login_form(registry, request, error)


def _provider(request: Request) -> str:
    name: object = request.path_params["provider"]
    return str(name)


def _callback(request: Request, name: str) -> str:
    """Return where a provider sends browsers back to, by the name of this server that they know."""
    scheme = "https" if is_encrypted(request) else "http"
    return f"{scheme}://{request.url.netloc}{ROOT}/sign-in/{quote(name)}/callback"


PAGES = (OwnRoutes(routes),)
