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
    is_secure = is_encrypted(request)
    response.set_cookie(
        _name(request),
        secret,
        max_age=LONGEST_S,
        path="/" if is_secure else ROOT,
        secure=is_secure,
        httponly=True,
        samesite="lax",
    )


def drop_secret(request: Request, response: Response) -> None:
    """Delete the cookie with the secret of a session."""
    is_secure = is_encrypted(request)
    response.delete_cookie(
        _name(request), path="/" if is_secure else ROOT, secure=is_secure, httponly=True, samesite="lax"
    )


def request_id_of(request: Request) -> str:
    """Return the id that ties this request's log lines and answer together."""
    return str(getattr(request.state, "request_id", ""))


def _name(request: Request) -> str:
    """Return the cookie's name; without TLS with the port, as ports of a host share cookies."""
    if is_encrypted(request):
        return "__Host-deltareg"
    return f"deltareg-{request.url.port or 80}"
