"""Bases that were fetched for runs: kept under a size, the one unused for longest goes first.

Several workers may share a cache. Each holds a lock on the bases of its run, in a file beside them,
which ends with its process; a base under such a lock is never evicted.
"""

import fcntl
import logging
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from deltareg.client.cache import Cache
from deltareg.client.kept_files import remove
from deltareg.client.pruning import CacheEntry
from deltareg.digest import Digest
from deltareg.wire import BaseInfo

log = logging.getLogger(__name__)

_KIND = "bases"
_LOCKS = "bases-in-use"


class BaseCache:
    """The fetched bases in a client's cache."""

    def __init__(self, cache: Cache, *, max_bytes: int) -> None:
        """Keep at most so many bytes of them between runs; 0 sets no limit."""
        self._cache = cache
        self._max_bytes = max_bytes
        self._held = ExitStack()

    def hold(self, base: BaseInfo) -> None:
        """Keep a base, and what it stands on, from being evicted until this one trims."""
        roots = [base.root] if base.bottom is None else [base.root, base.bottom.root]
        for root in roots:
            # A disk without locks evicts nothing either: the run is as safe.
            with suppress(OSError):
                self._held.enter_context(self._lock(Digest.parse(root).hex, fcntl.LOCK_SH))

    def trim(self) -> int:
        """Let go of what was held, and evict bases that no worker uses until the rest fits.

        What is pinned stays, and counts. Gives the bytes that are free now.
        """
        self._held.close()
        if not self._max_bytes:
            return 0
        found = [entry for entry in self._cache.entries() if entry.kind == _KIND]
        over = sum(entry.size_bytes for entry in found) - self._max_bytes
        freed = 0
        for entry in found:  # the least recently used first
            if freed < over and not entry.is_pinned and self._evict(entry):
                freed += entry.size_bytes
        return freed

    def _evict(self, entry: CacheEntry) -> bool:
        try:
            with self._lock(entry.digest, fcntl.LOCK_EX):
                remove(entry.path)
        except OSError:  # a worker uses it, or nobody can tell
            return False
        log.info("evicted base=%s bytes=%d", entry.digest[:12], entry.size_bytes)
        return True

    @contextmanager
    def _lock(self, name: str, mode: int) -> Generator[None]:
        folder = self._cache.path / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / Path(name).name, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, mode | fcntl.LOCK_NB)
            yield
        finally:
            os.close(file)
