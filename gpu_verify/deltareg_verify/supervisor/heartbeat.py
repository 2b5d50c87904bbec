"""A heartbeat: a thread that keeps a lease alive and notices when it is lost."""

import logging
import threading
from contextvars import copy_context
from functools import partial
from typing import Protocol, Self

from deltareg.errors import DeltaregError, Unavailable
from deltareg.wire import LeaseGrant, LeaseHold

log = logging.getLogger(__name__)

_BEATS = 3  # in one lease, so that one may be lost on the way
_AGAIN_S = 1.0


class LeaseHolder(Protocol):
    """Prolongs leases; `deltareg.client.WorkerClient` does."""

    def heartbeat(self, hold: LeaseHold) -> None:
        """Prolong a lease.

        Raises:
            LeaseLost: The run is somebody else's now.
        """
        ...


class Heartbeat:
    """Keeps one lease alive while a `with` block runs.

    A server that cannot be reached is no loss: the run may still be ours when it comes back, and
    its fence decides. Every other answer than success is one.
    """

    def __init__(self, holder: LeaseHolder, grant: LeaseGrant) -> None:
        self._holder = holder
        self._hold = LeaseHold(run=grant.run, fence=grant.fence)
        self._interval_s = grant.lease_s / _BEATS
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=partial(copy_context().run, self._beat), name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    @property
    def is_lost(self) -> bool:
        """Whether the run is not ours any more."""
        return self._lost.is_set()

    def lose(self) -> None:
        """Mark the run as not ours any more, as another part of the worker learned."""
        self._lost.set()

    def _beat(self) -> None:
        pause_s = self._interval_s
        while not self._ended.wait(pause_s):
            try:
                self._holder.heartbeat(self._hold)
                pause_s = self._interval_s
            except Unavailable:
                pause_s = min(_AGAIN_S, self._interval_s)
            except DeltaregError as error:
                log.warning("lease lost run=%s error=%s", self._hold.run, error.message)
                self._lost.set()
                return
