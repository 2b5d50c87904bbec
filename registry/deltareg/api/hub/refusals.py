"""Errors in the words of the hub: what its clients tell apart, and print.

They read `X-Error-Code`, and print `error` of a JSON body and the header `X-Error-Message`. An
answer to HEAD has no body, so there the header says it all.
"""

import json
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

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
    """Answer that something is not there.

    Without a code, for what nobody here knows, a client goes on with what its cache has.
    """
    headers = {"X-Error-Code": _CODES[found.what]} if found.what in _CODES else {}
    if found.commit:
        headers["X-Repo-Commit"] = found.commit  # by which the absence of a file may be kept
    return _answer(request, found.error, 404, headers)


def refusal(request: Request, error: DeltaregError) -> Response:
    """Answer with an error that is no absence."""
    status = hub_status(error)
    headers: dict[str, str] = {}
    if status == 401:
        headers |= {"WWW-Authenticate": "Bearer", "X-Error-Message": _BAD_TOKEN}
        headers |= hub_warning(_WAY_IN)
    elif status == 403:
        headers["X-Error-Message"] = in_a_header(error.message)
    elif status == 503:
        headers["Retry-After"] = "1"
    return _answer(request, error, status, headers)


def hub_status(error: DeltaregError) -> int:
    """Give the status of an error, as clients of the hub are told it.

    Bytes that are not what was pushed are no fault of who asks for them.
    """
    if isinstance(error, Blocked):
        return 403
    if isinstance(error, IntegrityFailure):
        return 502
    return status_of(error)


class HubRoute(APIRoute):
    """A route whose errors are the hub's."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give what answers a request, errors too."""
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
    """Forget where an error came by, with all that was read of the body there.

    It was awaited, so it and the frames that it came by hold each other; until garbage is looked
    for, which is seldom, they would hold what each hostile body was taken apart into as well.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def hub_warning(text: str) -> dict[str, str]:
    """Make the header that clients of 1.19 and later print, once in a process for each topic.

    What is told is its own topic, or of two commits only the first would be heard of.
    """
    topic = sha256_of(text.encode(errors="replace")).hex[:12]
    return {"X-HF-Warning": in_a_header(f"deltareg {topic}; {text}")}


def in_a_header(text: str) -> str:
    """Write a text as a header holds it: one line of ASCII."""
    return " ".join(text.split()).encode("ascii", "replace").decode()[:1_000]


def _answer(request: Request, error: DeltaregError, status: int, headers: dict[str, str]) -> Response:
    document = describe_problem(error, request_id=request_id_of(request))
    lines = [error.message, *([f"fix: {error.fix}"] if error.fix else [])]
    if request.method == "HEAD":
        headers.setdefault("X-Error-Message", in_a_header("; ".join(lines)))
    hub_fields: dict[str, object] = {"status": status, "error": "\n".join(lines), "errors": []}
    body = document.model_dump() | hub_fields
    # In ASCII: what is quoted from a request may be no text that UTF-8 can write.
    return Response(json.dumps(body), status, headers, "application/json")
