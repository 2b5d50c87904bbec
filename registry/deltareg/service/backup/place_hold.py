"""Holds in the place of backups: of any number that are taken, or of one process that prunes.

    blobs/<sha256 of "backup" or "prune">/<fresh>     an empty object: somebody does this here

Whoever comes writes its hold, then looks for those of others: of two that come at once, one sees the other at least.
The place is what they share; it may be two hosts, with two databases, of which one was restored from the other.

A hold is renewed under a fresh name. One that is seen for five minutes under the same name is of a process
that was killed. So nobody compares clocks.
"""

import hashlib
import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from uuid import uuid4

from deltareg.digest import Digest
from deltareg.errors import Conflict, DeltaregError
from deltareg.service.backup.hold import renewing
from deltareg.store import BlobStore, fresh_key

LEASE_S = 300.0
"""How long a hold is heeded that nobody renews."""
_BACKUP, _PRUNE = (Digest("sha256", hashlib.sha256(what).hexdigest()) for what in (b"backup", b"prune"))
_LOOK_S = 1.0
_LOST = "the place of backups for so long that others may have deleted there"


@contextmanager
def while_taking(
    store: BlobStore, report: Callable[[str], None], *, lease_s: float = LEASE_S
) -> Generator[Callable[[], None], None, None]:
    """Let nobody prune while the block lasts, and wait for whoever does; yield what raises unless that held."""
    hold, others = _Hold(store, _BACKUP, lease_s), _Others(store, (_PRUNE,), lease_s)
    try:
        hold.begin()
        with renewing(hold.renew, every_s=lease_s / 10, lost=_LOST) as check:
            while others.are_there(hold):
                if others.waited_s == 0:
                    report("waiting for another process, which prunes there")
                time.sleep(min(_LOOK_S, lease_s / 10))
            yield check
    finally:
        hold.end()


@contextmanager
def while_pruning(
    store: BlobStore, report: Callable[[str], None], *, lease_s: float = LEASE_S
) -> Generator[Callable[[], None], None, None]:
    """Have the place alone while the block lasts; yield what raises unless that held.

    Raises:
        Conflict: Backups were taken there, or another process pruned, for all the time that this waits.
    """
    hold, others = _Hold(store, _PRUNE, lease_s), _Others(store, (_BACKUP, _PRUNE), lease_s)
    try:
        hold.begin()
        while others.are_there(hold):
            hold.end()  # else two that prune wait for each other
            if others.waited_s >= lease_s:
                raise Conflict("another process backs up or prunes there", fix="run it again when that has ended")
            if others.waited_s == 0:
                report("waiting for another process, which backs up or prunes there, or was killed")
            time.sleep(min(_LOOK_S, lease_s / 10) * random.uniform(1, 3))  # noqa: S311  # so that two do not keep step
            hold.begin()
        with renewing(hold.renew, every_s=lease_s / 10, lost=_LOST) as check:
            yield check
    finally:
        hold.end()


class _Hold:
    """The hold of this process."""

    def __init__(self, store: BlobStore, what: Digest, lease_s: float) -> None:
        self._store, self._what, self._lease_s = store, what, lease_s
        self.names: list[str] = []
        self._renewed = 0.0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Hold from now on."""
        now, name = time.monotonic(), fresh_key(self._what, attempt=uuid4())
        self._store.write(name, [])
        self.names.append(name)
        self._renewed = now

    def renew(self) -> bool:
        """Hold on; return False if it was over, or somebody took it for that of a killed process."""
        with self._lock:
            age_s = time.monotonic() - self._renewed
            if age_s > self._lease_s or self._store.size(self.names[-1]) is None:
                return False
            if age_s > self._lease_s / 20:
                self.begin()
                while len(self.names) > 2:  # the one before stays for a while: a listing may miss what is as new
                    self._drop(self.names.pop(0))
            return True

    def end(self) -> None:
        """Hold no longer."""
        with self._lock:
            while self.names:
                self._drop(self.names.pop())

    def _drop(self, name: str) -> None:
        with suppress(DeltaregError):  # whoever comes next sees that nobody renews it
            self._store.delete(name)


class _Others:
    """The holds of other processes, and since when each is seen."""

    def __init__(self, store: BlobStore, kinds: tuple[Digest, ...], lease_s: float) -> None:
        self._store, self._lease_s = store, lease_s
        self._prefixes = [f"blobs/{what.hex}/" for what in kinds]
        self._since: dict[str, float] = {}
        self._began: float | None = None
        self.waited_s = 0.0

    def are_there(self, own: _Hold) -> bool:
        """Look for them, and take away those of killed processes."""
        now = time.monotonic()
        names = {name for prefix in self._prefixes for name, _ in self._store.keys(prefix)} - set(own.names)
        self._since = {name: self._since.get(name, now) for name in names}
        dead = {name for name in names if now - self._since[name] >= self._lease_s}
        for name in dead:
            self._store.delete(name)
        if names and self._began is None:
            self._began = now
        self.waited_s = now - (now if self._began is None else self._began)
        return names != dead
