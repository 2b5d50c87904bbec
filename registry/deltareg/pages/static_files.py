"""Scripts and styles: read once, named by their content, and cached by browsers for ever."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deltareg.pages.guard import HEADERS, ROOT

_FILES: Final = {
    "pages.css": "text/css",
    "pages.js": "text/javascript",
    "htmx.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_PLACES: Final = {"htmx.js": "vendor/htmx-4.0.1.min.js"}
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    media_type: str


def addresses() -> Mapping[str, str]:
    """Return the address of each file, by its plain name."""
    return _all()[1]


def send_static(request: Request) -> Response:
    """Answer with a file, whose name includes a hash of its content."""
    file = _all()[0].get(str(request.path_params["file"]))
    if file is None:
        return Response("there is no such file", 404, media_type="text/plain")
    return Response(file.body, headers={**HEADERS, "Cache-Control": _FOR_EVER}, media_type=file.media_type)


@cache
def _all() -> tuple[Mapping[str, _File], Mapping[str, str]]:
    folder = files("deltareg.pages") / "static"
    by_name: dict[str, _File] = {}
    by_plain_name: dict[str, str] = {}
    for name, media_type in _FILES.items():
        body = (folder / _PLACES.get(name, name)).read_bytes()
        stem, _, ending = name.partition(".")
        hashed = f"{stem}.{hashlib.sha256(body).hexdigest()[:12]}.{ending}"
        by_name[hashed] = _File(body, media_type)
        by_plain_name[name.replace(".", "_")] = f"{ROOT}/static/{hashed}"
    return MappingProxyType(by_name), MappingProxyType(by_plain_name)
