"""Requests as spans: each statement and each call of the store is a part of it, and a run goes on with its trace."""

import time
from typing import Final

from starlette.types import Scope

from deltareg.api.observability.observer import Begin
from deltareg.host.causes import valid_traceparent
from deltareg.host.time_spent import TimeSpent
from deltareg.host.traces import Tracer

_STATEMENT_CHARACTERS: Final = 2_000
_PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})


def tracing(tracer: Tracer | None) -> Begin | None:
    """Return what begins requests that are traced; None if none are."""
    if tracer is None:
        return None

    def begin(scope: Scope, request_id: str) -> TimeSpent:
        if scope["path"] in _PROBES:
            return TimeSpent(request_id)
        return TracedTime(tracer, scope, request_id)

    return begin


class TracedTime(TimeSpent):
    """Where the time of a request goes, told to its span."""

    __slots__ = ("_span",)

    def __init__(self, tracer: Tracer, scope: Scope, request_id: str) -> None:
        """Begin the span of a request, as part of its sender's."""
        super().__init__(request_id)
        sent = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        parent = valid_traceparent(sent.decode("latin-1"))
        self._span = tracer.begin(
            scope["method"], parent=parent, kind="SERVER", attributes={"deltareg.request_id": request_id}
        )
        self.traceparent = self._span.traceparent

    def statement(self, text: str, began: float) -> None:
        """Tell of a statement, which has its values apart from its text."""
        super().statement(text, began)
        what = text.split(maxsplit=1)[0].upper() if text.strip() else "statement"
        self._span.add(f"sql {what}", time.perf_counter() - began, {"db.query.text": text[:_STATEMENT_CHARACTERS]})

    def store_call(self, name: str, began: float) -> None:
        """Tell of a call of the store."""
        super().store_call(name, began)
        self._span.add(f"store {name}", time.perf_counter() - began, {})

    def end(self, method: str, route: str, status: int) -> None:
        """End the span."""
        self._span.end(
            name=f"{method} {route}",
            failed=status >= 500,
            attributes={"http.request.method": method, "http.route": route, "http.response.status_code": status},
        )
