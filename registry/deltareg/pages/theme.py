"""The colour scheme of the pages: the browser's, or light or dark by choice.

The choice is a cookie of the pages alone, which holds no secret. A form sets it, so it works
without a login and without scripts. `?theme=dark` shows a single page in it, and stores nothing.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deltareg.errors import DeltaregError, InvalidInput
from deltareg.pages.answering import see_other
from deltareg.pages.guard import ROOT, check_origin, is_encrypted, own_path
from deltareg.pages.problems import problem
from deltareg.pages.routing import OwnRoutes, read_form
from deltareg.pages.themes import COOKIE, THEMES
from deltareg.service.registry import Registry

_YEAR_S: Final = 366 * 86_400


def routes(_: Registry) -> list[Route]:
    """Return the route that sets the scheme."""
    return [Route("/theme", _choose, methods=["POST"])]


async def _choose(request: Request) -> Response:
    try:
        check_origin(request)
        form = await read_form(request)
        chosen = form.get("theme", "")
        if chosen not in {*THEMES, ""}:
            raise InvalidInput(f"there is no scheme {chosen[:40]!r}", fix="light, dark, or neither")
    except DeltaregError as error:
        return problem(request, error)
    answer = see_other(own_path(form.get("back", "")))
    if chosen:
        answer.set_cookie(
            COOKIE, chosen, max_age=_YEAR_S, path=ROOT, secure=is_encrypted(request), httponly=True, samesite="lax"
        )
    else:
        answer.delete_cookie(COOKIE, path=ROOT, secure=is_encrypted(request), httponly=True, samesite="lax")
    return answer


PAGES = (OwnRoutes(routes),)
