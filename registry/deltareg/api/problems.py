"""Error answers: RFC 9457 problem documents, whatever was raised."""

import json
import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from deltareg.api.overload.door import retry_after
from deltareg.errors import DeltaregError, QuotaExceeded, Unavailable
from deltareg.wire import API, ProblemDocument, ProblemItem, describe_problem, status_of
from deltareg.wire.problems import TITLES

logger = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"


def problem_response(error: DeltaregError, *, request_id: str) -> Response:
    """Answer with an error's problem document."""
    document = describe_problem(error, request_id=request_id)
    status = document.status
    headers = {"Retry-After": retry_after(error).decode()} if status in {429, 503} else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(document, headers)


def install(app: FastAPI) -> None:
    """Let an app answer every error with a problem document."""
    app.add_exception_handler(DeltaregError, _deltareg_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _internal_error)


def request_id_of(request: Request) -> str:
    """Return the id that ties this request's log lines and answer together."""
    return str(getattr(request.state, "request_id", ""))


def _answer(document: ProblemDocument, headers: Mapping[str, str], request: Request | None = None) -> Response:
    if request is not None:
        request.state.problem = document.code
    # In ASCII: what a problem quotes from a request may be no text that UTF-8 can write.
    body = json.dumps(document.model_dump())
    return Response(body, document.status, dict(headers), MEDIA_TYPE)


async def _deltareg_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, DeltaregError):
        raise error
    request.state.problem = error.code
    if status_of(error) >= 500:
        tell_fault(request, error)
    return problem_response(error, request_id=request_id_of(request))


def tell_fault(request: Request, error: DeltaregError) -> None:
    """Log an error answer: one line for a named fault, a trace for a bug."""
    if type(error) is DeltaregError:  # nobody named it
        request_id = request_id_of(request)
        logger.error("bug request=%s", request_id, exc_info=error, extra={"request_id": request_id})
        return
    is_passing = isinstance(error, Unavailable)
    has_left = isinstance(error.__cause__, ClientDisconnect)  # Ctrl-C at the other end
    is_expected = is_passing or isinstance(error, QuotaExceeded)
    level = logging.INFO if has_left else logging.WARNING if is_expected else logging.ERROR
    logger.log(
        level,
        "%s %s answered %d %s: %s request=%s",
        request.method,
        request.url.path,
        status_of(error),
        error.code,
        error.message,
        request_id_of(request),
        extra={"request_id": request_id_of(request), "series": error.code if is_passing else ""},
    )


async def _validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    items = [
        ProblemItem(code="invalid_input", message=f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}")
        for item in error.errors()[:20]
    ]
    first = items[0].message if items else "the request is malformed"
    document = ProblemDocument(
        type="urn:deltareg:problem:invalid_input",
        title=TITLES[422],
        status=422,
        detail=first,
        code="invalid_input",
        request_id=request_id_of(request),
        errors=items,
        fix=f"see {API}/openapi.json",
    )
    return _answer(document, {}, request)


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    codes = {401: "unauthenticated", 404: "not_found"}
    document = ProblemDocument(
        type="about:blank",
        title=TITLES.get(error.status_code, "Error"),
        status=error.status_code,
        detail=str(error.detail),
        code=codes.get(error.status_code, "invalid_input"),
        request_id=request_id_of(request),
    )
    return _answer(document, error.headers or {}, request)


async def _internal_error(request: Request, error: Exception) -> Response:
    request_id = request_id_of(request)
    request.state.problem = DeltaregError.code
    logger.error("bug request=%s", request_id, exc_info=error, extra={"request_id": request_id})
    bug = DeltaregError("the server has a bug", fix="report it with the request id of this answer")
    return problem_response(bug, request_id=request_id_of(request))
