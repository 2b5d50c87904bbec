"""Signing a command line in: its code is typed here, and the page says for which machine that is."""

from collections.abc import Sequence

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deltareg.errors import DeltaregError
from deltareg.pages.answering import html
from deltareg.pages.frame import frame_of
from deltareg.pages.guard import check_origin
from deltareg.pages.problems import problem
from deltareg.pages.routing import OwnRoutes, read_form
from deltareg.service.access.sign_in.devices import look_up_device
from deltareg.service.access.sign_in.providers import list_providers
from deltareg.service.registry import Registry
from deltareg.wire import Answer, status_of
from deltareg.wire.sign_in import DeviceWaiting, SignInProvider

_LONGEST = 40


class DevicePage(Answer):
    """The machine that waits with a code; none before one is typed."""

    code: str = ""
    waiting: DeviceWaiting | None = None
    providers: Sequence[SignInProvider] = ()
    wrong: str = ""
    fix: str = ""


def routes(registry: Registry) -> list[Route]:
    """Return the routes; none needs a session."""

    async def show(request: Request) -> Response:
        return _page(request, DevicePage())

    async def look(request: Request) -> Response:
        try:
            check_origin(request)
            form = await read_form(request)
        except DeltaregError as error:
            return problem(request, error)
        return await anyio.to_thread.run_sync(_look, registry, request, form.get("code", "").upper()[:_LONGEST])

    return [Route("/device", show, methods=["GET"]), Route("/device", look, methods=["POST"])]


def _look(registry: Registry, request: Request, code: str) -> Response:
    try:
        waiting = look_up_device(registry, code)
    except DeltaregError as error:
        return _page(request, DevicePage(code=code, wrong=error.message, fix=error.fix), status=status_of(error))
    return _page(request, DevicePage(code=code, waiting=waiting, providers=list_providers(registry)))


def _page(request: Request, page: DevicePage, *, status: int = 200) -> Response:
    return html("device.html.jinja", status=status, page=page, frame=frame_of(None, "", request=request))


PAGES = (OwnRoutes(routes),)
