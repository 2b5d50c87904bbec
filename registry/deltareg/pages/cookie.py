"""The cookie that holds a session's secret: the pages read it, and nothing else does."""

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
    """Say which start of the server a session is bound to; empty for none.

    On loopback a browser sends its cookies to whatever listens on another port of the machine: what
    leaks there ends with this process.
    """
    return _THIS_START if is_loopback(request) else ""


def secret_of(request: Request) -> str:
    """Give the session's secret that came along; empty where none did."""
    return request.cookies.get(_name(request), "")


def session_of(request: Request, registry: Registry) -> Session:
    """Find the session that a request belongs to.

    Raises:
        Unauthenticated: None, or one that has ended.
    """
    secret = secret_of(request)
    if not secret:
        raise Unauthenticated(_NOT_IN, fix="run `deltareg open`, or paste a token")
    return find_session(registry, secret, bound_to=bound_to(request), request_id=request_id_of(request))


def keep_secret(request: Request, response: Response, secret: str) -> None:
    """Give a browser the secret of its session."""
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
    """Take the secret of a session from a browser."""
    is_secure = is_encrypted(request)
    response.delete_cookie(
        _name(request), path="/" if is_secure else ROOT, secure=is_secure, httponly=True, samesite="lax"
    )


def request_id_of(request: Request) -> str:
    """Give the id that ties this request's log lines and answer together."""
    return str(getattr(request.state, "request_id", ""))


def _name(request: Request) -> str:
    """Name the cookie; on loopback by the port, for cookies are of a host and not of a port."""
    if is_encrypted(request):
        return "__Host-deltareg"
    return f"deltareg-{request.url.port or 80}"
