"""A store whose calls are counted and timed, for metrics and for the request that made them."""

import threading
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from deltareg.errors import DeltaregError
from deltareg.host.time_spent import SPENT
from deltareg.store.blob_store import BlobStore

Step = TypeVar("Step")
CALLS: Final = ("write", "read", "size", "delete", "keys", "url", "keep", "read_log", "check")
FAULT: Final = "internal"
"""How an error is called that is none of ours."""


@dataclass(slots=True)
class StoreTally:
    """What a store was asked since the process began; threads share it.

    Attributes:
        calls: How many calls ended, by name and outcome: `ok`, or the code of the error.
        seconds: How long they took, by name.
    """

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, name: str, outcome: str, seconds: float) -> None:
        """Count a call that ended."""
        with self._lock:
            self.calls[name, outcome] += 1
            self.seconds[name] += seconds  # type: ignore[assignment]  # typeshed: counts are whole numbers


class WatchedStore(BlobStore):
    """Another store, watched.

    Attributes:
        inner: The store itself.
        tally: What it was asked.
    """

    def __init__(self, inner: BlobStore) -> None:
        """Watch a store."""
        self.inner, self.tally = inner, StoreTally()

    def write(self, key: str, body: Iterable[bytes]) -> int:
        waited = _Waited(body)
        with self._watching("write", waited):
            return self.inner.write(key, waited)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        with self._watching("read"):
            chunks = self.inner.read(key, start, stop)
        return self._steps("read", chunks)

    def size(self, key: str) -> int | None:
        with self._watching("size"):
            return self.inner.size(key)

    def delete(self, key: str) -> None:
        with self._watching("delete"):
            self.inner.delete(key)

    def keys(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        with self._watching("keys"):
            listed = self.inner.keys(prefix)
        return self._steps("keys", listed)

    def url(self, key: str, *, expires_s: int) -> str | None:
        with self._watching("url"):
            return self.inner.url(key, expires_s=expires_s)

    def keep(self, name: str, data: bytes) -> bool:
        with self._watching("keep"):
            return self.inner.keep(name, data)

    def read_log(self, log: str) -> Iterator[bytes]:
        with self._watching("read_log"):
            return self.inner.read_log(log)

    def check(self) -> None:
        with self._watching("check"):
            self.inner.check()

    @contextmanager
    def _watching(self, name: str, waited: "_Waited | None" = None) -> Generator[None, None, None]:
        began, outcome = time.perf_counter(), FAULT
        try:
            yield
            outcome = "ok"
        except DeltaregError as error:
            # What the body of a write raised is no fault of the store.
            outcome = "ok" if waited is not None and waited.is_cut else error.code
            raise
        finally:
            away = 0.0 if waited is None else waited.seconds
            self.tally.note(name, outcome, time.perf_counter() - began - away)
            if (spent := SPENT.get()) is not None:
                spent.store_call(name, began + away)

    def _steps(self, name: str, steps: Iterator[Step]) -> Iterator[Step]:
        """Give on what a call gives step by step; what fails on the way is counted as a call of its own."""
        while True:
            began = time.perf_counter()
            try:
                step = next(steps)
            except StopIteration:
                return
            except DeltaregError as error:
                self.tally.note(name, error.code, time.perf_counter() - began)
                raise
            finally:
                if (spent := SPENT.get()) is not None:
                    spent.add("store", began)
            yield step


class _Waited:
    """A body, and how long its source took to give it, which is not the store's time.

    Attributes:
        seconds: How long it took.
        is_cut: Whether the source raised.
    """

    def __init__(self, body: Iterable[bytes]) -> None:
        self._steps = iter(body)
        self.seconds, self.is_cut = 0.0, False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        began = time.perf_counter()
        try:
            return next(self._steps)
        except StopIteration:
            raise
        except BaseException:
            self.is_cut = True
            raise
        finally:
            self.seconds += time.perf_counter() - began
