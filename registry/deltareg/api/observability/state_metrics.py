"""Metrics of the registry that are looked up when somebody asks: queue, workers, verdicts, proofs, quotas, disks.

Each server of a registry tells the same of it, so take the `max` over servers, not the sum. Where there is none of a
thing, its metric is 0 and not absent. While the database is away, `deltareg_database_up` is 0, and what only it knows
is absent.
"""

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, get_args

from prometheus_client import Gauge
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deltareg.errors import DeltaregError
from deltareg.service.channels.fleet import count_followers
from deltareg.service.quotas.shares import quota_shares
from deltareg.service.registry import Registry
from deltareg.service.runs.queue import QueueDepth, QueueOutlook, Workforce, queue_depth, queue_outlook, workforce
from deltareg.service.runs.second_look import count_disputes
from deltareg.service.upkeep.health import RegistryHealth, registry_health
from deltareg.words import OUTCOMES, RUN_KIND_NAMES, BaseState, Drift, Priority, QuotaResource

_DEVICE_CHARACTERS: Final = 40
_DEVICES_MOST: Final = 20
_OTHERS: Final = "others"
_DEVICES: Final = ("cpu", "cuda")


class StateMetrics(Collector):
    """The gauges of a registry."""

    def __init__(self, disks: Mapping[str, Path]) -> None:
        """Begin with nothing known.

        Args:
            disks: The folders on this machine that the server writes to, by their content.
        """
        self._disks, self._is_up = disks, False
        self._lock = threading.Lock()
        self._known: list[Gauge] = []
        make = self._make
        self._up = Gauge("deltareg_database_up", "Whether the database answers.", registry=None)
        self._queue = make(
            "queue_runs", "Runs by state and by the hardware that they ask for.", "what", "state", "device"
        )
        self._oldest = make("queue_oldest_seconds", "Age of the oldest waiting run.", "what", "device")
        self._priorities = make("queue_priority_runs", "Runs that wait, by their priority.", "priority")
        self._unserved = make("queue_unserved_runs", "Runs that wait for labels that no live worker offers.")
        self._workers = make("workers", "Workers that run now.", "device", "state")
        self._followers = make("followers", "Channels that agents follow, by drift and base.", "drift", "base")
        self._quotas = make(
            "quota_used_ratio", "Share of a quota that a namespace uses; of the 200 fullest.", "namespace", "resource"
        )
        self._fullest = make("quota_used_ratio_max", "Share of the fullest quota; 0 where there are none.")
        self._disputes = make("disputed_verdicts", "Verdicts that a second worker did not find.")
        self._verdicts = make("verdicts_last_hour", "Verdicts of the last hour.", "verdict")
        self._dead = make("runs_dead_last_day", "Runs of the last day that were given up.", "what")
        self._proven = make("proof_last_timestamp_seconds", "When the newest proof ended; 0 for never.")
        self._collected = make("collection_last_timestamp_seconds", "When garbage was last collected; 0 for never.")
        self._unsealed = make("trail_unsealed_seconds", "Age of the oldest row of the audit trail that is not sealed.")
        self._deliveries = make("webhook_pending_deliveries", "Events that webhooks have not been told yet.")
        self._ended = make("task_last_end_timestamp_seconds", "When a task of upkeep last ended; 0 for never.", "task")
        self._failing = make("task_failing", "Whether a task of upkeep failed when it was last done.", "task")
        self._stored = make("stored_bytes", "Bytes of all packs that are needed, as quotas count them.")
        self._versions = make("versions", "Versions that are not deleted.")
        self._lines = make("lines", "Lines that are not deleted.")
        self._database_bytes = make("database_bytes", "Room that the database takes.")
        self._free = Gauge("deltareg_disk_free_bytes", "Room on the server's own disks.", ["of"], registry=None)
        self._size = Gauge("deltareg_disk_size_bytes", "Size of the server's own disks.", ["of"], registry=None)

    def _make(self, name: str, told: str, *labels: str) -> Gauge:
        gauge = Gauge(f"deltareg_{name}", told, labels, registry=None)
        self._known.append(gauge)
        return gauge

    def look(self, registry: Registry) -> None:
        """Look everything up; a database that does not answer is told as such."""
        with self._lock:
            self._look(registry)

    def _look(self, registry: Registry) -> None:
        self._set_disks()
        try:
            found = (
                queue_depth(registry),
                queue_outlook(registry),
                workforce(registry),
                count_followers(registry),
                quota_shares(registry),
                count_disputes(registry),
                registry_health(registry),
            )
        except DeltaregError:
            self._is_up = False
            self._up.set(0)
            return
        depths, outlook, forces, followers, shares, disputes, health = found
        self._up.set(1)
        self._set_queue(depths, outlook)
        self._set_workers(forces)
        self._set_followers(followers)
        self._set_quotas(shares)
        self._disputes.set(disputes)
        self._set_health(health)
        self._is_up = True

    def collect(self) -> Iterator[Metric]:
        """Yield what the last look found."""
        with self._lock:
            shown = (self._up, self._free, self._size, *(self._known if self._is_up else ()))
            found = [metric for gauge in shown for metric in gauge.collect()]
        yield from found

    def _set_disks(self) -> None:
        for of, folder in self._disks.items():
            with suppress(OSError):
                usage = shutil.disk_usage(folder)
                self._free.labels(of).set(usage.free)
                self._size.labels(of).set(usage.total)

    def _set_queue(self, depths: Sequence[QueueDepth], outlook: QueueOutlook) -> None:
        self._queue.clear()
        self._oldest.clear()
        listed = _fullest({each.device: each.waiting + each.running for each in depths}) | {"any"}
        oldest: dict[tuple[str, str], float] = {}
        # Each kind is told of while nothing of it waits, too: a scaler sees 0 and not nothing.
        for each in (*(QueueDepth(what, "any", 0, 0, 0.0) for what in RUN_KIND_NAMES), *depths):
            device = _short(each.device) if each.device in listed else _OTHERS
            self._queue.labels(each.what, "waiting", device).inc(each.waiting)
            self._queue.labels(each.what, "running", device).inc(each.running)
            oldest[each.what, device] = max(each.oldest_s, oldest.get((each.what, device), 0.0))
        for key, seconds in oldest.items():
            self._oldest.labels(*key).set(seconds)
        for priority in get_args(Priority):
            self._priorities.labels(priority).set(outlook.by_priority.get(priority, 0))
        self._unserved.set(outlook.unserved)

    def _set_workers(self, forces: Sequence[Workforce]) -> None:
        self._workers.clear()
        listed = _fullest({each.device: each.idle + each.busy for each in forces}) | set(_DEVICES)
        for each in (*(Workforce(device, 0, 0) for device in _DEVICES), *forces):
            device = _short(each.device) if each.device in listed else _OTHERS
            self._workers.labels(device, "idle").inc(each.idle)
            self._workers.labels(device, "busy").inc(each.busy)

    def _set_followers(self, counts: Mapping[tuple[Drift, BaseState], int]) -> None:
        for drift in get_args(Drift):
            for base in get_args(BaseState):
                self._followers.labels(drift, base).set(counts.get((drift, base), 0))

    def _set_quotas(self, shares: Mapping[tuple[str, QuotaResource], float]) -> None:
        self._quotas.clear()
        for (namespace, resource), share in shares.items():
            self._quotas.labels(namespace, resource).set(share)
        self._fullest.set(max(shares.values(), default=0.0))

    def _set_health(self, health: RegistryHealth) -> None:
        for outcome in OUTCOMES:
            self._verdicts.labels(outcome).set(health.verdicts.get(outcome, 0))
        for what in RUN_KIND_NAMES:
            self._dead.labels(what).set(health.dead.get(what, 0))
        self._proven.set(health.proven_at)
        self._collected.set(health.collected_at)
        self._unsealed.set(health.unsealed_s)
        for name, (ended_at, is_failing) in health.tasks.items():
            self._ended.labels(name).set(ended_at)
            self._failing.labels(name).set(is_failing)
        self._deliveries.set(health.pending_deliveries)
        self._stored.set(health.stored["bytes"])
        self._versions.set(health.stored["versions"])
        self._lines.set(health.stored["lines"])
        self._database_bytes.set(health.database_bytes)


def _fullest(sizes: Mapping[str, int]) -> set[str]:
    """Return the names with most behind them: users name hardware, and may make up names."""
    return set(sorted(sizes, key=lambda name: -sizes[name])[:_DEVICES_MOST])


def _short(device: str) -> str:
    return device[:_DEVICE_CHARACTERS]
