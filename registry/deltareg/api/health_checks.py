"""What probes and Prometheus ask, answered however busy the server is.

It has threads and connections to the database of its own, and looks twice a second at most, at the store every few
seconds: nothing that requests hold can keep it waiting, and nobody can keep it busy, for it takes no token. What
does not answer is given up after five seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import anyio

from deltareg.api.bounded_look import BoundedLook, look_at_store
from deltareg.api.observability.metrics import Metrics
from deltareg.api.observability.state_metrics import StateMetrics
from deltareg.api.room import DiskRoom
from deltareg.db.session import check_schema, create_engine
from deltareg.errors import DeltaregError, DiskFull, Unavailable
from deltareg.host.exported_metrics import MetricSample
from deltareg.service.registry import Registry
from deltareg.service.runs.demand import QueueState, read_queue_state
from deltareg.store.watched import WatchedStore
from deltareg.streaming import SharedLook


@dataclass(frozen=True, slots=True)
class HealthChecks:
    """The health of one server process.

    Attributes:
        metrics: The counters.
        problem: What is wrong with the database or the server's own disks; None if nothing is.
        store: What is wrong with the store; None if nothing is.
        text: The counters in the Prometheus text format.
        samples: Reads the same as values; may block.
        queue: The queue, for whoever scales workers.
    """

    metrics: Metrics
    problem: SharedLook[DeltaregError | None]
    store: SharedLook[DeltaregError | None]
    text: SharedLook[bytes]
    samples: Callable[[], Sequence[MetricSample]]
    queue: SharedLook[QueueState | DeltaregError]

    @staticmethod
    def of(registry: Registry, room: DiskRoom | None, disks: Mapping[str, Path] | None = None) -> "HealthChecks":
        """Prepare the checks of a registry, and of the server's own disks if it has some.

        Args:
            registry: The registry.
            room: The disks that need room for the server to be ready; None for none.
            disks: The disks of which metrics tell; those that need room by default.
        """

        @cache
        def own() -> Registry:
            return replace(registry, engine=create_engine(registry.engine.url, connections=0))

        tally = registry.store.tally if isinstance(registry.store, WatchedStore) else None
        metrics = Metrics(registry.engine, tally)
        state = StateMetrics((room.folders if room else {}) if disks is None else disks)
        metrics.collector.register(state)
        database = BoundedLook("the database", partial(_problem, own, room), good_s=0.0, bad_s=0.0)
        return HealthChecks(
            metrics,
            _share_look(database.take),
            _share_look(look_at_store(registry.store).take),
            SharedLook(partial(_text, own, metrics, state), b"", anyio.CapacityLimiter(1)),
            partial(_samples, own, metrics, state),
            SharedLook(partial(_queue, own), QueueState(), anyio.CapacityLimiter(1)),
        )


def _share_look(look: Callable[[], DeltaregError | None]) -> SharedLook[DeltaregError | None]:
    """Share a look, which has a thread of its own."""
    return SharedLook(look, None, anyio.CapacityLimiter(1))


def _problem(own: Callable[[], Registry], room: DiskRoom | None) -> DeltaregError | None:
    try:
        check_schema(own().engine)
        if room is not None:
            room.check()
    except DiskFull as error:
        return Unavailable(error.message, fix=error.fix)  # 503 is what probes know
    except DeltaregError as error:
        return error
    return None


def _queue(own: Callable[[], Registry]) -> QueueState | DeltaregError:
    try:
        return read_queue_state(own())
    except DeltaregError as error:
        return error


def _samples(own: Callable[[], Registry], metrics: Metrics, state: StateMetrics) -> Sequence[MetricSample]:
    state.look(own())
    return metrics.samples()


def _text(own: Callable[[], Registry], metrics: Metrics, state: StateMetrics) -> bytes:
    state.look(own())
    return metrics.text()
