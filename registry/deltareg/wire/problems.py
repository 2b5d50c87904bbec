"""Errors on the wire: RFC 9457 problem documents, and the one table of HTTP statuses."""

from deltareg import errors
from deltareg.errors import ApprovalDue, DeltaregError, Problem, Refused
from deltareg.wire.messages import Answer
from deltareg.words import Severity

# The nearest class of an error's own line of ancestors decides.
STATUS: dict[type[DeltaregError], int] = {
    errors.DeltaregError: 500,
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.BlobMissing: 502,
    errors.Unauthenticated: 401,
    errors.AssertionRefused: 400,
    errors.Forbidden: 403,
    errors.Conflict: 409,
    errors.StaleRevision: 412,
    errors.PreconditionRequired: 428,
    errors.IntegrityFailure: 422,
    errors.Corrupt: 409,
    errors.BaseMismatch: 409,
    errors.GateFailed: 409,
    errors.GatePending: 409,
    errors.Inconclusive: 409,
    errors.QuotaExceeded: 507,
    errors.Blocked: 409,
    errors.Unavailable: 503,
    errors.RateLimited: 429,
    errors.Misconfigured: 500,
    errors.WaitTimeout: 504,
    errors.DifferenceFound: 200,
}
TITLES = {
    400: "Bad request",
    401: "Not logged in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Timed out",
    409: "Conflict",
    411: "Length required",
    412: "Stale",
    413: "Too large",
    422: "Refused",
    428: "Precondition required",
    429: "Too many requests",
    500: "Internal error",
    502: "Store damaged",
    503: "Unavailable",
    504: "Timed out",
    507: "No room",
}


class ProblemItem(Answer):
    """One problem of a refused upload, or one unmet rule of a refused move."""

    code: str
    severity: Severity = "error"
    tensor: str = ""
    message: str
    fix: str = ""


class ProblemDocument(Answer):
    """An RFC 9457 problem, as `application/problem+json`.

    `request` is the number of the request that waits for approvals, if that is the error.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str = ""
    retryable: bool = False
    fix: str = ""
    docs: str = ""
    request: int | None = None
    errors: list[ProblemItem] = []


def status_of(error: DeltaregError) -> int:
    """Return the HTTP status of an error."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def describe_problem(error: DeltaregError, *, request_id: str) -> ProblemDocument:
    """Return the problem document of an error."""
    status = status_of(error)
    items = [_item(problem) for problem in error.problems]
    code = error.problem_code if isinstance(error, Refused) else error.code
    return ProblemDocument(
        type=f"urn:deltareg:problem:{code}",
        title=TITLES.get(status, "Error"),
        status=status,
        detail=error.message,
        code=code,
        request_id=request_id,
        retryable=error.retryable,
        fix=error.fix,
        docs=f"deltareg explain {code}",
        errors=items,
        request=error.request or None if isinstance(error, ApprovalDue) else None,
    )


def _item(problem: Problem) -> ProblemItem:
    return ProblemItem(
        code=problem.code, severity=problem.severity, tensor=problem.tensor, message=problem.message, fix=problem.fix
    )
