"""Keeps other sites from acting through somebody's browser, and from embedding our pages.

A browser sends a cookie whichever site made it send the request, on loopback even to every port. So
a request that acts has to come from one of our pages: by Fetch Metadata or else by its origin; and
its form holds a word that only the holder of the cookie can know.
"""

import hashlib
import hmac
import re
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request

from deltareg.errors import Forbidden
from deltareg.host.urls import split_url

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
    """Refuse to act on a request that was not sent by one of our pages.

    Raises:
        Forbidden: Another site or another port of this host sent it, or the sender is unknown.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site != "same-origin":
            raise Forbidden(_REFUSED, fix=_BACK)
        return
    # Older browsers, and plain http anywhere but on loopback, say no more than this.
    origin = request.headers.get("origin", "")
    if not origin or split_url(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise Forbidden(_REFUSED, fix=_BACK)


def check_reading(request: Request) -> None:
    """Refuse to show a page that another site fetches; links from anywhere are fine.

    Raises:
        Forbidden: Another site sent the request, and it is no navigation.
    """
    headers = request.headers
    is_foreign = headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
    if is_foreign and headers.get("sec-fetch-mode") != "navigate":
        raise Forbidden("another site asked for a page of this registry", fix="open it by itself")


def form_word(secret: str) -> str:
    """Return the word that the forms of a session hold."""
    return hmac.new(secret.encode(), _FORM_WORD, hashlib.sha256).hexdigest()[:32]


def check_form_word(said: str, secret: str) -> None:
    """Compare the word of a form with that of the session.

    Raises:
        Forbidden: They differ.
    """
    if not hmac.compare_digest(said.encode(), form_word(secret).encode()):
        raise Forbidden("this form is of another login", fix=_BACK)


def own_path(text: str) -> str:
    """Return where to go after a login: the path if it is one of the pages, else the first page."""
    return text if _OURS.fullmatch(text) else ROOT


def is_loopback(request: Request) -> bool:
    """Whether the browser runs on the machine of the server."""
    return _host(request.headers) in _LOOPBACK


def is_encrypted(request: Request) -> bool:
    """Whether the browser uses TLS: from elsewhere it always does, directly or to a proxy."""
    return request.url.scheme == "https" or not is_loopback(request)


def _host(headers: Headers) -> str:
    return split_url(f"//{headers.get('host', '')}").hostname or ""
