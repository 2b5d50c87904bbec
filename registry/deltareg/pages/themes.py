"""The colour schemes, and which one a page is shown in."""

from typing import Final

from starlette.requests import Request

THEMES: Final = ("light", "dark")
COOKIE: Final = "deltareg-theme"


def theme_of(request: Request) -> str:
    """Return the scheme chosen by the address or by the cookie; empty for the browser's."""
    requested = request.query_params.get("theme", request.cookies.get(COOKIE, ""))
    return requested if requested in THEMES else ""
