"""Errors in the form of the hub, which its clients distinguish and print.

They read `X-Error-Code`, and print `error` of a JSON body and the header `X-Error-Message`. An
answer to HEAD has no body, so there the header holds the whole message.
"""

import json
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from deltareg.api.overload.door import retry_after
from deltareg.api.problems import request_id_of, tell_fault
from deltareg.digest import sha256_of
from deltareg.errors import Blocked, DeltaregError, IntegrityFailure, InvalidInput
from deltareg.service.hub.snapshots import MissingContent, What
from deltareg.wire import describe_problem, status_of

_CODES: Final[Mapping[What, str]] = MappingProxyType(
    {"repository": "RepoNotFound", "revision": "RevisionNotFound", "file": "EntryNotFound"}
)
# Word for word: without it a client says of a 401 that there is no such repository.
_BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105  # a message, no secret

_WAY_IN = (
    "HF_TOKEN is no valid token of this registry, whose begin with drg_;"
    " deltareg token create --for me --scope read prints one"
)


def missing(request: Request, found: MissingContent) -> Response:
    """Answer that something does not exist.

    If the repository is unknown, the answer has no code, and a client goes on with its cache.
    """
    headers = {"X-Error-Code": _CODES[found.what]} if found.what in _CODES else {}
    if found.commit:
        headers["X-Repo-Commit"] = found.commit  # by which the absence of a file may be kept
    return _answer(request, found.error, 404, headers)


def refusal(request: Request, error: DeltaregError) -> Response:
    """Answer with an error other than a missing resource."""
    status = hub_status(error)
    headers: dict[str, str] = {}
    if status == 401:
        headers |= {"WWW-Authenticate": "Bearer", "X-Error-Message": _BAD_TOKEN}
        headers |= hub_warning(_WAY_IN)
    elif status == 403:
        headers["X-Error-Message"] = in_a_header(error.message)
    elif status == 503:
        headers["Retry-After"] = retry_after(error).decode()
    return _answer(request, error, status, headers)


def hub_status(error: DeltaregError) -> int:
    """Return the HTTP status of an error for clients of the hub.

    Bytes that differ from what was pushed are not the fault of whoever asks for them.
    """
    if isinstance(error, Blocked):
        return 403
    if isinstance(error, IntegrityFailure):
        return 502
    return status_of(error)


class HubRoute(APIRoute):
    """A route that answers errors in the form of the hub."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request, including its errors."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await inner(request)
            except DeltaregError as error:
                if hub_status(error) >= 500:
                    tell_fault(request, error)
                answer = refusal(request, error)
                _let_go(error)
                return answer
            except RequestValidationError as error:
                first = error.errors()[0]
                message = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
                return refusal(request, InvalidInput(message))

        return handle


def _let_go(error: BaseException | None) -> None:
    """Drop an error's traceback, and with it everything that its frames read of the body.

    An awaited error and the frames of its traceback refer to each other. Until the garbage
    collector runs, which is seldom, they would keep the parsed parts of each hostile body alive.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def hub_warning(text: str) -> dict[str, str]:
    """Return the header that clients of 1.19 and later print, once in a process for each topic.

    The topic is a digest of the text, since with a shared one a client would print only the first
    of two commits' warnings.
    """
    topic = sha256_of(text.encode(errors="replace")).hex[:12]
    return {"X-HF-Warning": in_a_header(f"deltareg {topic}; {text}")}


def in_a_header(text: str) -> str:
    """Convert a text to what a header may hold: one line of ASCII."""
    line = " ".join(text.split()).encode("ascii", "replace").decode()[:1_000]
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _answer(request: Request, error: DeltaregError, status: int, headers: dict[str, str]) -> Response:
    document = describe_problem(error, request_id=request_id_of(request))
    lines = [error.message, *([f"fix: {error.fix}"] if error.fix else [])]
    if request.method == "HEAD":
        headers.setdefault("X-Error-Message", in_a_header("; ".join(lines)))
    hub_fields: dict[str, object] = {"status": status, "error": "\n".join(lines), "errors": []}
    body = document.model_dump() | hub_fields
    # In ASCII: what is quoted from a request may be no text that UTF-8 can write.
    return Response(json.dumps(body), status, headers, "application/json")
