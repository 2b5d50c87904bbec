"""Requests: moves that others have to approve; shows, decides and waits for them."""

import time
from collections.abc import Callable

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.errors import Blocked, Conflict, WaitTimeout
from deltareg.wire import Approve, Page, Reject, RequestInfo, request_of

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0


class Requests(Resource):
    """The requests for moves that others have to approve."""

    __slots__ = ()

    def list(
        self,
        of: str | None = None,
        *,
        state: str | None = None,
        channel: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Listing[RequestInfo]:
        """List requests, newest first."""
        return self._list(
            "/requests", Page[RequestInfo], of=of, state=state, channel=channel, cursor=cursor, limit=limit
        )

    def show(self, request_id: int) -> RequestInfo:
        """Show a request, and what keeps it from being promoted."""
        return self._context.api.get(f"/requests/{request_id}", RequestInfo)

    def approve(self, request_id: int, *, message: str = "") -> RequestInfo:
        """Approve a request; the last approval that is needed moves the channel.

        Raises:
            Forbidden: The caller opened the request or pushed its version.
            Conflict: The request is no longer open.
        """
        body = request_of(Approve, message=message)
        return self._context.api.post(f"/requests/{request_id}:approve", body, RequestInfo)

    def reject(self, request_id: int, *, reason: str) -> RequestInfo:
        """Reject a request."""
        body = request_of(Reject, reason=reason)
        return self._context.api.post(f"/requests/{request_id}:reject", body, RequestInfo)

    def withdraw(self, request_id: int) -> RequestInfo:
        """Withdraw a request that the caller opened."""
        return self._context.api.post(f"/requests/{request_id}:withdraw", None, RequestInfo)

    def wait(
        self,
        request_id: int,
        *,
        timeout_s: float = 3600.0,
        on_change: Callable[[RequestInfo], None] = lambda _: None,
        retry: Callable[[RequestInfo], bool] = lambda _: False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> RequestInfo:
        """Wait until a request has been promoted.

        Args:
            request_id: The request.
            timeout_s: How long to wait at most.
            on_change: Called with the request at the beginning and at every change.
            retry: Called when the approvals are there and the gate was not met, to promote the
                version again; returns whether the channel moved.
            sleep: Waits a number of seconds.

        Raises:
            Blocked: The request was rejected.
            Conflict: The request was withdrawn, or it is stale.
            WaitTimeout: The request is still open, and stays open.
        """
        deadline, pause_s = time.monotonic() + timeout_s, _FIRST_PAUSE_S
        last: RequestInfo | None = None
        while True:
            request = self.show(request_id)
            if request != last:
                on_change(request)
                last, pause_s = request, _FIRST_PAUSE_S
            if request.state == "promoted":
                return request
            _check_open(request)
            if request.missing == 0 and not request.unmet and retry(request):
                continue
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise WaitTimeout(
                    f"request {request_id} is still open after {timeout_s:.0f} s; it stays open",
                    fix=f"look again: deltareg request show {request_id}",
                )
            sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)


def _check_open(request: RequestInfo) -> None:
    why = f": {request.decision}" if request.decision else ""
    by = f" by {request.decided_by}" if request.decided_by else ""
    again = f"deltareg promote {request.ref} --channel {request.channel}"
    message = f"request {request.id} for {request.ref} is {request.state}{by}{why}"
    if request.state == "rejected":
        raise Blocked(message, fix="fix what was found, and push a new version")
    if request.state != "open":
        raise Conflict(message, fix=f"if it is wanted still: {again}")
