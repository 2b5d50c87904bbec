"""How the tasks of a server go: when each last succeeded, how long it took, how often it failed."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class TaskRecord:
    """One task.

    Attributes:
        succeeded_at: When it last succeeded, seconds since 1970; 0 if it has not yet.
        seconds: How long it took then.
        failures: How often it failed.
    """

    succeeded_at: float = 0.0
    seconds: float = 0.0
    failures: int = 0


@dataclass(slots=True)
class TaskTally:
    """The tasks of one server process, by name; threads share it."""

    clock: Callable[[], float] = time.time
    tasks: dict[str, TaskRecord] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def doing(self, name: str) -> Generator[None, None, None]:
        """Note how a task goes, which is what the block does."""
        began = time.perf_counter()
        with self._lock:
            record = self.tasks.setdefault(name, TaskRecord())
        try:
            yield
        except BaseException:
            with self._lock:
                record.failures += 1
            raise
        with self._lock:
            record.succeeded_at, record.seconds = self.clock(), time.perf_counter() - began
