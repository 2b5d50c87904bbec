"""Keeps a pool at the size that the queue asks for: it asks the registry, and tells the engine."""

import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client.pool.engine import PoolEngine, PoolSize
from deltareg.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from deltareg.wire import PoolDemand

_LOCK = "keeper.lock"


@dataclass(frozen=True, slots=True)
class PoolLook:
    """What one look has found, and what came of it."""

    demand: "PoolDemand"
    size: PoolSize


@dataclass(frozen=True, slots=True)
class PoolKeeper:
    """Keeps one pool.

    Attributes:
        demand: Asks the registry how many runs want a worker of the pool.
        engine: Starts and cancels workers.
        least: How many workers there are at least.
        most: How many there are at most.
        every_s: Seconds between two looks.
    """

    demand: "Callable[[], PoolDemand]"
    engine: PoolEngine
    least: int
    most: int
    every_s: float

    def step(self) -> PoolLook:
        """Look once, and bring the pool to its size.

        Raises:
            Unavailable: The registry or the engine does not answer now.
        """
        demand = self.demand()
        return PoolLook(demand, self.engine.bring_to(max(self.least, min(self.most, demand.wanted))))

    def keep(
        self, tell: Callable[[PoolLook | Unavailable], None], *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """Keep the pool for ever; nothing is lost when this is ended at any moment, and workers go on.

        Args:
            tell: Called with a look that differs from the one before, and with what keeps it from looking.
            pause: Waits a number of seconds.
        """
        before: PoolLook | None = None
        while True:
            try:
                look = self.step()
            except Unavailable as error:
                tell(error)
            else:
                if look != before:
                    tell(look)
                before = look
            pause(self.every_s)


@contextmanager
def only_keeper(folder: Path) -> Generator[None, None, None]:
    """Be the only keeper of a pool's folder while the block lasts.

    What this process starts inherits the lock: where it is killed while it asks the engine for
    workers, the next one waits for the end of that question and counts its outcome.

    Raises:
        Conflict: Another one runs.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(descriptor, True)  # noqa: FBT003  # its own form
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode()
            raise Conflict(
                f"another process keeps this pool: {holder.strip() or 'it is just starting'}",
                fix="stop that one, or give this pool another --pool NAME",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
