"""The metrics of one server process in the Prometheus format: its requests, its database, its store, its own tasks.

What is looked up in the registry when somebody asks is in `observability.state_metrics`. No label has values that users
make up: routes, codes, calls and tasks are lists of ours.
"""

from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deltareg import __version__
from deltareg.host.exported_metrics import MetricSample
from deltareg.host.time_spent import PARTS, TimeSpent
from deltareg.store.watched import CALLS, FAULT, StoreTally

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, which nobody asks for
_SUMS: Final = ("counter", "histogram")
# A counter that begins at its first fault shows no rise, and no alert that asks for one hears of that fault.
_AT_ZERO: Final = (
    ("read", "blob_missing"),
    *((call, each) for call in CALLS for each in ("ok", "store_unavailable", "store_misconfigured", FAULT)),
)
_BUCKETS: Final = (0.005, 0.02, 0.1, 0.5, 2, 10, 60)


class Metrics:
    """The counters of one server process.

    Attributes:
        collector: Where metrics are registered; what is looked up adds its own.
    """

    def __init__(self, engine: sa.Engine | None = None, store: StoreTally | None = None) -> None:
        """Start all counters at zero, in a registry of their own.

        Args:
            engine: The database of requests, for its connections; None for none.
            store: What the store was asked; None if nobody counts.
        """
        self.collector = CollectorRegistry()
        labels = ["method", "route", "status"]
        self._requests = Counter("deltareg_requests_total", "Requests answered.", labels, registry=self.collector)
        self._seconds = Histogram(
            "deltareg_request_seconds",
            "Time to answer; without requests that wait for something to happen.",
            ["method", "route"],
            registry=self.collector,
            buckets=_BUCKETS,
        )
        self._problems = Counter("deltareg_problems_total", "Errors answered.", ["code"], registry=self.collector)
        self._counts: dict[tuple[str, str, str], Counter] = {}
        self._times: dict[tuple[str, str], Histogram] = {}
        self._spent = TimeSpent()
        build = Gauge("deltareg_build_info", "The release of the server.", ["version"], registry=self.collector)
        build.labels(__version__).set(1)
        ProcessCollector(registry=self.collector)
        self.collector.register(_ProcessParts(self._spent, engine, store))

    def count(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count one request; one that waits for something to happen has no seconds."""
        key = method, route, str(status)
        counter = self._counts.get(key)
        if counter is None:
            counter = self._counts[key] = self._requests.labels(*key)
        counter.inc()
        if seconds is not None:
            timer = self._times.get(key[:2])
            if timer is None:
                timer = self._times[key[:2]] = self._seconds.labels(method, route)
            timer.observe(seconds)

    def count_problem(self, code: str) -> None:
        """Count an error that was answered, by its code."""
        self._problems.labels(code).inc()

    def add_spent(self, spent: TimeSpent) -> None:
        """Add where the time of a request went; on the event loop alone."""
        total = self._spent
        total.statements += spent.statements
        total.store_calls += spent.store_calls
        total.connection += spent.connection
        total.database += spent.database
        total.store += spent.store
        total.slot += spent.slot
        total.receiving += spent.receiving
        total.sending += spent.sending

    def samples(self) -> list[MetricSample]:
        """Return all metrics as values."""
        return [
            MetricSample(sample.name, sample.labels, sample.value, family.type in _SUMS)
            for family in self.collector.collect()
            for sample in family.samples
        ]

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.collector)


class _ProcessParts(Collector):
    """What the parts of a process count by themselves."""

    def __init__(self, spent: TimeSpent, engine: sa.Engine | None, store: StoreTally | None) -> None:
        self._spent, self._engine, self._store = spent, engine, store

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        yield from self._requests()
        yield from self._connections()
        yield from self._stores()

    def _requests(self) -> Iterator[Metric]:
        told = "Where the time of requests went: waiting for a connection, the database, the store, a turn, the client."
        parts = CounterMetricFamily("deltareg_request_parts_seconds", told, labels=["part"])
        for part in PARTS:
            parts.add_metric([part], getattr(self._spent, part))
        yield parts
        told = "Statements to the database, for requests."
        yield CounterMetricFamily("deltareg_database_statements", told, value=self._spent.statements)

    def _connections(self) -> Iterator[Metric]:
        pool = None if self._engine is None else self._engine.pool
        if not isinstance(pool, sa.QueuePool):
            return
        told = "Connections to the database, of requests."
        connections = GaugeMetricFamily("deltareg_database_connections", told, labels=["state"])
        connections.add_metric(["used"], pool.checkedout())
        connections.add_metric(["idle"], pool.checkedin())
        yield connections
        most = pool.size() + getattr(pool, "_max_overflow", 0)
        told = "Connections to the database that requests may have at most."
        yield GaugeMetricFamily("deltareg_database_connections_max", told, value=most)

    def _stores(self) -> Iterator[Metric]:
        tally = self._store or StoreTally()
        seen = {**dict.fromkeys(_AT_ZERO, 0), **tally.calls}
        calls = CounterMetricFamily("deltareg_store_calls", "Calls of the store.", labels=["call", "outcome"])
        for (name, outcome), count in sorted(seen.items()):
            calls.add_metric([name, outcome], count)
        yield calls
        seconds = CounterMetricFamily("deltareg_store_seconds", "Time of calls of the store.", labels=["call"])
        for name in CALLS:
            seconds.add_metric([name], tally.seconds[name])
        yield seconds
