"""Which schemes there are, and which one a page is shown in."""

from typing import Final

from starlette.requests import Request

THEMES: Final = ("light", "dark")
COOKIE: Final = "deltareg-theme"


def theme_of(request: Request) -> str:
    """Give the scheme that was chosen, by the address or before; empty for what the browser has."""
    requested = request.query_params.get("theme", request.cookies.get(COOKIE, ""))
    return requested if requested in THEMES else ""
