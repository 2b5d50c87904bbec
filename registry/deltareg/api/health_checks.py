"""What probes and Prometheus ask, answered however busy the server is.

It has threads and connections to the database of its own, and looks twice a second at most, at the store every few
seconds: nothing that requests hold can keep it waiting, and nobody can keep it busy, for it takes no token. What
does not answer is given up after five seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import anyio

from deltareg.api.bounded_look import BoundedLook, look_at_store
from deltareg.api.metrics import Metrics
from deltareg.api.room import DiskRoom
from deltareg.db.session import check_schema, create_engine
from deltareg.errors import DeltaregError, DiskFull, Unavailable
from deltareg.service.channels.fleet import count_followers
from deltareg.service.quotas.shares import quota_shares
from deltareg.service.registry import Registry
from deltareg.service.runs.demand import QueueState, read_queue_state
from deltareg.service.runs.queue import queue_depth, workforce
from deltareg.service.runs.second_look import count_disputes
from deltareg.streaming import SharedLook


@dataclass(frozen=True, slots=True)
class HealthChecks:
    """The health of one server process.

    Attributes:
        metrics: The counters.
        problem: What is wrong with the database or the server's own disks; None if nothing is.
        store: What is wrong with the store; None if nothing is.
        text: The counters in the Prometheus text format, or the error that kept them from being read.
        queue: The queue, for whoever scales workers.
    """

    metrics: Metrics
    problem: SharedLook[DeltaregError | None]
    store: SharedLook[DeltaregError | None]
    text: SharedLook[bytes | DeltaregError]
    queue: SharedLook[QueueState | DeltaregError]

    @staticmethod
    def of(registry: Registry, room: DiskRoom | None) -> "HealthChecks":
        """Prepare the checks of a registry, and of the server's own disks if it has some."""

        @cache
        def own() -> Registry:
            return replace(registry, engine=create_engine(registry.engine.url, connections=0))

        metrics = Metrics()
        database = BoundedLook("the database", partial(_problem, own, room), good_s=0.0, bad_s=0.0)
        return HealthChecks(
            metrics,
            _share_look(database.take),
            _share_look(look_at_store(registry.store).take),
            SharedLook(partial(_text, own, metrics), b"", anyio.CapacityLimiter(1)),
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


def _text(own: Callable[[], Registry], metrics: Metrics) -> bytes | DeltaregError:
    registry = own()
    try:
        metrics.set_queue(queue_depth(registry))
        metrics.set_workers(workforce(registry))
        metrics.set_followers(count_followers(registry))
        metrics.set_quotas(quota_shares(registry))
        metrics.set_disputes(count_disputes(registry))
    except DeltaregError as error:
        return error
    return metrics.text()
