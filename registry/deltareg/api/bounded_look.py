"""A look at something that may hang: it takes a bounded time, and is not taken again all the time."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

from deltareg.digest import sha256_of
from deltareg.errors import DeltaregError, DiskFull, StoreMisconfigured, Unavailable
from deltareg.store import BlobStore, fresh_key

log = logging.getLogger(__name__)

_PROBE = b"deltareg readiness"


@dataclass(slots=True)
class BoundedLook:
    """Asks something how it is; safe to call from several threads.

    A look that hangs goes on in a thread of its own, and no second one begins beside it.

    Attributes:
        what: What is asked, as a message names it.
        look: Asks; returns what is wrong, or None.
        within_s: How long an answer may take, seconds.
        good_s: How long a good answer is reused, seconds.
        bad_s: How long a bad answer is reused, seconds.
        clock: Returns the time, seconds.
    """

    what: str
    look: Callable[[], DeltaregError | None]
    within_s: float = 5.0
    good_s: float = 15.0
    bad_s: float = 5.0
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event | None = None
    _began_at: float = float("-inf")
    _seen: DeltaregError | None = None

    def take(self) -> DeltaregError | None:
        """Return what is wrong, or None; blocks for `within_s` at most."""
        with self._lock:
            if self._ended is None:
                if self.clock() - self._began_at < (self.good_s if self._seen is None else self.bad_s):
                    return self._seen
                self._ended, self._began_at = threading.Event(), self.clock()
                threading.Thread(target=self._run, args=(self._ended,), daemon=True, name="look").start()
            ended, left_s = self._ended, self._began_at + self.within_s - self.clock()
        if ended.wait(max(0.0, left_s)):
            with self._lock:
                return self._seen
        return Unavailable(f"{self.what} did not answer within {self.within_s:g} s", fix="see whether it runs")

    def _run(self, ended: threading.Event) -> None:
        try:
            seen = self.look()
        except DeltaregError as error:
            seen = error
        except Exception as error:  # a store of somebody else: whoever asks is told
            log.warning("%s failed", self.what, exc_info=True)
            seen = Unavailable(f"{self.what} failed: {type(error).__name__}", fix="see the server's log")
        with self._lock:
            self._seen, self._ended = seen, None
        ended.set()


def look_at_store(store: BlobStore) -> BoundedLook:
    """Make the look whether a store takes an object and gives it back."""
    return BoundedLook("the store", partial(_use_store, store))


def _use_store(store: BlobStore) -> DeltaregError | None:
    """Write, read and delete a small object, as a push and a pull do; return what is wrong."""
    key = fresh_key(sha256_of(_PROBE), attempt=uuid4())
    doing = "written"
    try:
        store.write(key, [_PROBE])
        doing = "read"
        is_same = b"".join(store.read(key)) == _PROBE
        doing = "tidied"
        store.delete(key)
    except DeltaregError as error:  # 503 is what probes know, and where the store lies concerns nobody who asks
        log.warning("the store cannot be %s: %s", doing, error.message)
        return Unavailable(f"the store cannot be {doing}: {_reason(error)}", fix="deltareg server check says why")
    if not is_same:
        return Unavailable("the store gives back other bytes than it took", fix="deltareg server check says why")
    return None


def _reason(error: DeltaregError) -> str:
    match error:
        case DiskFull():
            return "there is no room"
        case StoreMisconfigured():
            return "it refuses what the settings say"
        case _:
            return "it does not answer"
