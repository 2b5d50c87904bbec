"""Requests for moves that others have to approve."""

from typing import Annotated

from fastapi import Query

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.parameters import Number
from deltareg.refs import LineRef
from deltareg.service.channels import requests as service
from deltareg.wire import Approve, Page, Reject, RequestInfo, RequestState

router = closed_router("requests", prefix="/requests")


@router.get("")
def list_requests(
    registry: InRegistry,
    by: By,
    of: str | None = None,
    state: RequestState | None = None,
    channel: Annotated[str | None, Query(max_length=64)] = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[RequestInfo]:
    """List requests, newest first: all, or those `of` a line, in a state, for a channel."""
    line = None if of is None else by.current_line(LineRef.parse(of))
    return service.list_requests(registry, by, line, state=state, channel=channel, cursor=cursor, limit=limit)


@router.get("/{request_id}")
def show_request(registry: InRegistry, by: By, request_id: Number) -> RequestInfo:
    """Show a request, who approved it, and what keeps it from being promoted."""
    return service.show_request(registry, by, request_id)


@router.post("/{request_id}:approve")
def approve_request(registry: InRegistry, by: By, request_id: Number, body: Approve) -> RequestInfo:
    """Approve a request; the last approval that is due moves the channel."""
    return service.approve_request(registry, by, request_id, message=body.message)


@router.post("/{request_id}:reject")
def reject_request(registry: InRegistry, by: By, request_id: Number, body: Reject) -> RequestInfo:
    """Reject a request; a reason is required."""
    return service.reject_request(registry, by, request_id, reason=body.reason)


@router.post("/{request_id}:withdraw")
def withdraw_request(registry: InRegistry, by: By, request_id: Number) -> RequestInfo:
    """Withdraw a request, as who opened it."""
    return service.withdraw_request(registry, by, request_id)
