"""Tells of each request that was answered: metrics, a line in the log, and a record if it was slow."""

import logging
from collections.abc import Callable

from starlette.types import Scope

from deltareg.api.observability.metrics import Metrics
from deltareg.api.observability.request_record import RequestRecord
from deltareg.api.observability.slow_requests import NOWHERE, SlowRequests
from deltareg.host.time_spent import TimeSpent

access_log = logging.getLogger("deltareg.access")
Begin = Callable[[Scope, str], TimeSpent]
"""Returns what notes where the time of a request goes; the id is its second argument."""


class RequestObserver:
    """Tells of requests; used on the event loop alone."""

    def __init__(self, metrics: Metrics, slow: SlowRequests = NOWHERE, *, begin: Begin | None = None) -> None:
        """Tell metrics and, of slow requests, a record.

        Args:
            metrics: Counts requests.
            slow: Records those that were slow.
            begin: Begins a request where it is traced as well; None where it is not.
        """
        self._metrics, self._slow, self._begin = metrics, slow, begin

    def begin(self, scope: Scope, request_id: str) -> RequestRecord:
        """Begin a request."""
        spent = TimeSpent(request_id) if self._begin is None else self._begin(scope, request_id)
        return RequestRecord(scope, spent, request_id)

    def end(self, record: RequestRecord) -> None:
        """End a request."""
        record.end()
        is_patient = record.is_patient
        self._metrics.count(record.method, record.route, record.status, None if is_patient else record.seconds)
        self._metrics.add_spent(record.spent)
        if record.problem:
            self._metrics.count_problem(record.problem)
        self._slow.note(record, is_patient=is_patient)
        if access_log.isEnabledFor(logging.INFO):
            access_log.info("request", extra={"fields": _fields(record)})
        record.spent.end(record.method, record.route, record.status)


def _fields(record: RequestRecord) -> dict[str, object]:
    return {
        "method": record.method,
        "route": record.route,
        "status": record.status,
        "ms": round(record.seconds * 1000, 3),
        "bytes": record.sent_bytes,
        "received": record.received_bytes,
        "principal": record.principal,
        "problem": record.problem,
        "request_id": record.request_id,
        **{f"{part}_ms": round(seconds * 1000, 3) for part, seconds in record.spent.parts().items()},
    }
