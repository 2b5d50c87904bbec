"""What keeps other sites from acting with somebody's browser, and from showing it our pages.

A cookie is sent along whoever makes the browser ask, on loopback even to every port. So what acts
has to come from a page of ours: the browser says so (Fetch Metadata), or else the origin does; and
its form holds a word that only who has the cookie can know.
"""

import hashlib
import hmac
import re
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request

from deltareg.errors import Forbidden

ROOT: Final = "/ui"
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_FORM_WORD = b"deltareg form"
# A path of the pages, with a query; nothing in it that a browser could take for another host.
_OURS = re.compile(r"/ui(?:/(?!\.)[A-Za-z0-9._~@:+-]+)*/?(?:\?[A-Za-z0-9._~@:/%&=+-]*)?")
_REFUSED = "this did not come from a page of this registry"
_BACK = "open the page again and try once more"


def check_origin(request: Request) -> None:
    """Let nothing act but what a page of ours sent.

    Raises:
        Forbidden: Another site sent it, another port of this host, or nobody says.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site != "same-origin":
            raise Forbidden(_REFUSED, fix=_BACK)
        return
    # Older browsers, and plain http anywhere but on loopback, say no more than this.
    origin = request.headers.get("origin", "")
    if not origin or urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise Forbidden(_REFUSED, fix=_BACK)


def check_reading(request: Request) -> None:
    """Show nothing to another site that has the browser fetch it; links lead here from anywhere.

    Raises:
        Forbidden: It is no navigation and another site asks.
    """
    headers = request.headers
    is_foreign = headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
    if is_foreign and headers.get("sec-fetch-mode") != "navigate":
        raise Forbidden("another site asked for a page of this registry", fix="open it by itself")


def form_word(secret: str) -> str:
    """Give the word that forms of a session hold."""
    return hmac.new(secret.encode(), _FORM_WORD, hashlib.sha256).hexdigest()[:32]


def check_form_word(said: str, secret: str) -> None:
    """Hold the word of a form against that of the session.

    Raises:
        Forbidden: It is another one.
    """
    if not hmac.compare_digest(said.encode(), form_word(secret).encode()):
        raise Forbidden("this form is of another login", fix=_BACK)


def own_path(text: str) -> str:
    """Give where to go after a login: a path of the pages, or the first of them."""
    return text if _OURS.fullmatch(text) else ROOT


def is_loopback(request: Request) -> bool:
    """Whether the browser speaks to the server of its own machine."""
    return _host(request.headers) in _LOOPBACK


def is_encrypted(request: Request) -> bool:
    """Whether the browser speaks TLS: from elsewhere, nothing but TLS or a proxy is served."""
    return request.url.scheme == "https" or not is_loopback(request)


def _host(headers: Headers) -> str:
    return urlsplit(f"//{headers.get('host', '')}").hostname or ""
