"""The cookie that holds a session's secret; only the pages read it."""

import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deltareg.errors import Unauthenticated
from deltareg.pages.guard import ROOT, is_encrypted, is_loopback
from deltareg.service.access.sessions import LONGEST_S, Session, find_session
from deltareg.service.registry import Registry

_THIS_START: Final = secrets.token_urlsafe(16)
_NOT_IN: Final = "log in to see the pages"


def bound_to(request: Request) -> str:
    """Return the server start that a session is bound to; empty for none.

    On loopback a browser also sends its cookies to whatever listens on another port of the machine:
    a secret that leaks there is worthless once this process ends.
    """
    return _THIS_START if is_loopback(request) else ""


def secret_of(request: Request) -> str:
    """Return the session's secret of a request; empty if it has none."""
    return request.cookies.get(_name(request), "")


def session_of(request: Request, registry: Registry) -> Session:
    """Return the session that a request belongs to.

    Raises:
        Unauthenticated: There is no session, or it has ended.
    """
    secret = secret_of(request)
    if not secret:
        raise Unauthenticated(_NOT_IN, fix="run `deltareg open`, or paste a token")
    return find_session(registry, secret, bound_to=bound_to(request), request_id=request_id_of(request))


def keep_secret(request: Request, response: Response, secret: str) -> None:
    """Set the cookie with the secret of a session."""
    _keep(request, response, _name(request), secret, for_s=LONGEST_S)


def drop_secret(request: Request, response: Response) -> None:
    """Delete the cookie with the secret of a session."""
    _keep(request, response, _name(request), "", for_s=0)


def sign_in_secret_of(request: Request) -> str:
    """Return the secret that a browser was sent to a provider with; empty if it was not."""
    return request.cookies.get(_name(request, "-sign-in"), "")


def keep_sign_in(request: Request, response: Response, secret: str, *, for_s: int) -> None:
    """Set the cookie of a browser that is sent to a provider; it comes back with it from there."""
    _keep(request, response, _name(request, "-sign-in"), secret, for_s=for_s)


def drop_sign_in(request: Request, response: Response) -> None:
    """Delete that cookie."""
    _keep(request, response, _name(request, "-sign-in"), "", for_s=0)


def request_id_of(request: Request) -> str:
    """Return the id that ties this request's log lines and answer together."""
    return str(getattr(request.state, "request_id", ""))


def _keep(request: Request, response: Response, name: str, value: str, *, for_s: int) -> None:
    is_secure = is_encrypted(request)
    path = "/" if is_secure else ROOT
    response.set_cookie(name, value, max_age=for_s, path=path, secure=is_secure, httponly=True, samesite="lax")


def _name(request: Request, purpose: str = "") -> str:
    """Return a cookie's name; without TLS with the port, as ports of a host share cookies."""
    if is_encrypted(request):
        return f"__Host-deltareg{purpose}"
    return f"deltareg{purpose}-{request.url.port or 80}"
