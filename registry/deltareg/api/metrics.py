"""Prometheus metrics: requests by route, the depth of the queue for autoscaling, followers."""

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from deltareg.service.runs.queue import QueueDepth, Workforce
from deltareg.wire import BaseState, Drift
from deltareg.words import RUN_KIND_NAMES, QuotaResource

_DEVICE_CHARACTERS = 40


class Metrics:
    """The counters of one server process."""

    def __init__(self) -> None:
        """Start all counters at zero, in a registry of their own."""
        self._collector = CollectorRegistry()
        labels = ["method", "route", "status"]
        self._requests = Counter("deltareg_requests_total", "Requests answered.", labels, registry=self._collector)
        self._seconds = Histogram(
            "deltareg_request_seconds",
            "Time to answer.",
            ["method", "route"],
            registry=self._collector,
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60),
        )
        self._queue = Gauge(
            "deltareg_queue_runs",
            "Runs by state and by the hardware that they ask for.",
            ["what", "state", "device"],
            registry=self._collector,
        )
        self._oldest = Gauge(
            "deltareg_queue_oldest_seconds",
            "Age of the oldest waiting run.",
            ["what", "device"],
            registry=self._collector,
        )
        self._workers = Gauge(
            "deltareg_workers", "Workers that run now.", ["device", "state"], registry=self._collector
        )
        self._followers = Gauge(
            "deltareg_followers",
            "Channels that agents follow, by drift and base.",
            ["drift", "base"],
            registry=self._collector,
        )
        self._quotas = Gauge(
            "deltareg_quota_used_ratio",
            "Share of a quota that a namespace uses; of the 200 fullest.",
            ["namespace", "resource"],
            registry=self._collector,
        )
        self._disputes = Gauge(
            "deltareg_disputed_verdicts", "Verdicts that a second worker did not find.", registry=self._collector
        )

    def set_quotas(self, shares: Mapping[tuple[str, QuotaResource], float]) -> None:
        """Record how much of their quotas namespaces use."""
        self._quotas.clear()
        for (namespace, resource), share in shares.items():
            self._quotas.labels(namespace, resource).set(share)

    def set_disputes(self, count: int) -> None:
        """Record how many verdicts two workers disagree about."""
        self._disputes.set(count)

    def set_followers(self, counts: Mapping[tuple[Drift, BaseState], int]) -> None:
        """Record how many followers there are; those on a wrong base even if there are none."""
        self._followers.clear()
        self._followers.labels("failed", "wrong").set(0)
        for (drift, base), count in counts.items():
            self._followers.labels(drift, base).set(count)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def set_queue(self, depths: Sequence[QueueDepth]) -> None:
        """Record the depth of the queue; devices that no run asks for any more are dropped."""
        self._queue.clear()
        self._oldest.clear()
        # Each kind is told of while nothing of it waits, too: a scaler sees 0 and not nothing.
        for each in (*(QueueDepth(what, "any", 0, 0, 0.0) for what in RUN_KIND_NAMES), *depths):
            device = _short(each.device)
            self._queue.labels(each.what, "waiting", device).set(each.waiting)
            self._queue.labels(each.what, "running", device).set(each.running)
            self._oldest.labels(each.what, device).set(each.oldest_s)

    def set_workers(self, forces: Sequence[Workforce]) -> None:
        """Record how many workers there are."""
        self._workers.clear()
        for each in forces:
            self._workers.labels(_short(each.device), "idle").set(each.idle)
            self._workers.labels(_short(each.device), "busy").set(each.busy)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self._collector)


def _short(device: str) -> str:
    return device[:_DEVICE_CHARACTERS]
