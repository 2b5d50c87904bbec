"""Errors on the wire: RFC 9457 problem documents."""

from typing import Literal

from deltareg.wire.messages import Answer


class ProblemItem(Answer):
    """One problem of a refused upload."""

    code: str
    severity: Literal["error", "warning"] = "error"
    tensor: str = ""
    message: str
    fix: str = ""


class ProblemDocument(Answer):
    """An RFC 9457 problem, as `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str = ""
    retryable: bool = False
    fix: str = ""
    docs: str = ""
    errors: list[ProblemItem] = []
