"""Errors as RFC 9457 problem documents; the one table from error classes to HTTP statuses."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from deltareg import errors
from deltareg.errors import DeltaregError, Problem, Refused
from deltareg.wire import API, ProblemDocument, ProblemItem

logger = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"

# The nearest class of an error's own line of ancestors decides.
STATUS: dict[type[DeltaregError], int] = {
    errors.DeltaregError: 500,
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.BlobMissing: 502,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.Conflict: 409,
    errors.StaleRevision: 412,
    errors.PreconditionRequired: 428,
    errors.IntegrityFailure: 422,
    errors.BaseMismatch: 409,
    errors.GateFailed: 409,
    errors.GatePending: 409,
    errors.Inconclusive: 409,
    errors.QuotaExceeded: 507,
    errors.Blocked: 409,
    errors.Unavailable: 503,
    errors.Misconfigured: 500,
    errors.WaitTimeout: 504,
    errors.DifferenceFound: 200,
}
_TITLES = {
    400: "Bad request", 401: "Not logged in", 403: "Not allowed", 404: "Not found",
    405: "Method not allowed", 409: "Conflict", 411: "Length required", 412: "Stale",
    413: "Too large", 422: "Refused", 428: "Precondition required", 500: "Internal error",
    502: "Store damaged", 503: "Unavailable", 504: "Timed out", 507: "No room",
}  # fmt: skip


def status_of(error: DeltaregError) -> int:
    """Give the HTTP status of an error."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def problem_response(error: DeltaregError, *, request_id: str) -> JSONResponse:
    """Answer with an error's problem document."""
    status = status_of(error)
    items = [_item(p) for p in error.problems] if isinstance(error, Refused) else []
    code = error.problem_code if isinstance(error, Refused) else error.code
    document = ProblemDocument(
        type=f"urn:deltareg:problem:{code}", title=_TITLES.get(status, "Error"), status=status,
        detail=error.message, code=code, request_id=request_id, retryable=error.retryable,
        fix=error.fix, docs=f"deltareg explain {code}", errors=items,
    )  # fmt: skip
    headers = {"Retry-After": "1"} if status == 503 else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(document.model_dump(), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make an app answer every error with a problem document."""
    app.add_exception_handler(DeltaregError, _deltareg_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _internal_error)


def request_id_of(request: Request) -> str:
    """Give the id that ties this request's log lines and answer together."""
    return str(getattr(request.state, "request_id", ""))


def _item(problem: Problem) -> ProblemItem:
    return ProblemItem(
        code=problem.code, severity=problem.severity, tensor=problem.tensor,
        message=problem.message, fix=problem.fix,
    )  # fmt: skip


async def _deltareg_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, DeltaregError):
        raise error
    if status_of(error) >= 500:
        logger.error("request failed", exc_info=error, extra={"request_id": request_id_of(request)})
    return problem_response(error, request_id=request_id_of(request))


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    items = [
        ProblemItem(
            code="invalid_input",
            message=f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}",
        )
        for item in error.errors()[:20]
    ]
    first = items[0].message if items else "the request is malformed"
    document = ProblemDocument(
        type="urn:deltareg:problem:invalid_input", title=_TITLES[422], status=422, detail=first,
        code="invalid_input", request_id=request_id_of(request), errors=items,
        fix=f"see {API}/openapi.json",
    )  # fmt: skip
    return JSONResponse(document.model_dump(), 422, media_type=MEDIA_TYPE)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    codes = {401: "unauthenticated", 404: "not_found"}
    document = ProblemDocument(
        type="about:blank", title=_TITLES.get(error.status_code, "Error"),
        status=error.status_code, detail=str(error.detail),
        code=codes.get(error.status_code, "invalid_input"), request_id=request_id_of(request),
    )  # fmt: skip
    return JSONResponse(
        document.model_dump(), error.status_code, dict(error.headers or {}), MEDIA_TYPE
    )


async def _internal_error(request: Request, error: Exception) -> JSONResponse:
    logger.error("bug", exc_info=error, extra={"request_id": request_id_of(request)})
    bug = DeltaregError("the server has a bug", fix="report it with the request id of this answer")
    return problem_response(bug, request_id=request_id_of(request))
