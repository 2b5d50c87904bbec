"""Bases that were fetched for runs, kept under a size: the least recently used goes first.

Several workers may share a cache. Each holds the bases of its run, and held bases stay.
"""

import logging
from contextlib import ExitStack, suppress

from deltareg.client.cache.cache import Cache
from deltareg.client.cache.in_use import in_use
from deltareg.client.cache.pruning import CacheEntry, evict
from deltareg.digest import Digest
from deltareg.wire import BaseInfo

log = logging.getLogger(__name__)

_KIND = "bases"


class BaseCache:
    """The fetched bases in a client's cache."""

    def __init__(self, cache: Cache, *, max_bytes: int) -> None:
        """Keep at most `max_bytes` of bases between runs; 0 sets no limit."""
        self._cache = cache
        self._max_bytes = max_bytes
        self._held = ExitStack()

    def hold(self, base: BaseInfo) -> None:
        """Keep a base, and what it stands on, from being evicted until this one trims."""
        bottom = [] if base.bottom is None else [base.bottom.identity, base.bottom.root]
        # By its identity as fetched today, by its root as the release before fetched it.
        for root in filter(None, [base.identity, base.root, *bottom]):
            # A disk without locks evicts nothing either: the run is as safe.
            with suppress(OSError):
                self._held.enter_context(in_use(self._cache.path, Digest.parse(root).hex))

    def trim(self) -> int:
        """Release the held bases, and evict those that no worker uses until the rest fits.

        Pinned bases stay, and count. Returns the freed bytes.
        """
        self._held.close()
        if not self._max_bytes:
            return 0
        entries = [entry for entry in self._cache.entries() if entry.kind == _KIND]
        over = sum(entry.size_bytes for entry in entries) - self._max_bytes
        freed = 0
        for entry in entries:  # the least recently used first
            if freed < over and not entry.is_pinned and self._evict(entry):
                freed += entry.size_bytes
        return freed

    def _evict(self, entry: CacheEntry) -> bool:
        try:
            is_gone = evict(self._cache.path, entry)
        except OSError:  # nobody can tell whether a worker uses it
            return False
        if is_gone:
            log.info("evicted base=%s bytes=%d", entry.digest[:12], entry.size_bytes)
        return is_gone
