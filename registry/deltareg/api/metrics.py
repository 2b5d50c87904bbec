"""Prometheus metrics: requests by route, and the depth of the queue for autoscaling."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The counters of one server process."""

    def __init__(self) -> None:
        """Start all counters at zero, in a collector of their own."""
        self._collector = CollectorRegistry()
        labels = ["method", "route", "status"]
        self._requests = Counter(
            "deltareg_requests_total", "Requests answered.", labels, registry=self._collector
        )
        self._seconds = Histogram(
            "deltareg_request_seconds", "Time to answer.", ["method", "route"],
            registry=self._collector, buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60),
        )  # fmt: skip
        self._queue = Gauge(
            "deltareg_queue_runs", "Runs by state.", ["what", "state"], registry=self._collector
        )
        self._oldest = Gauge(
            "deltareg_queue_oldest_seconds", "Age of the oldest waiting run.", ["what"],
            registry=self._collector,
        )  # fmt: skip

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def set_queue(self, what: str, *, waiting: int, running: int, oldest_s: float) -> None:
        """Note how the queue stands."""
        self._queue.labels(what, "waiting").set(waiting)
        self._queue.labels(what, "running").set(running)
        self._oldest.labels(what).set(oldest_s)

    def text(self) -> bytes:
        """Write all of it in the Prometheus text format."""
        return generate_latest(self._collector)
