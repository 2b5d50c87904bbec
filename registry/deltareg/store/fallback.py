"""Reading from a second store what the first cannot give now: an object is the same in both, under its key.

Only reads go there. What is written, deleted, listed and checked is the first store alone, so that a copy
never hides that the first has lost something.
"""

import logging
import time
from collections.abc import Callable, Iterator
from threading import Lock

from deltareg.errors import BlobMissing, IntegrityFailure, StoreMisconfigured, StoreUnavailable
from deltareg.store.blob_store import BlobStore

_log = logging.getLogger(__name__)

_AWAY_S, _ASKED_S = 30.0, 10.0


class FallbackReads:
    """Reads objects of one store, or of a second one where that does not give them."""

    def __init__(self, first: BlobStore, second: BlobStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with a first store that answers.

        Args:
            first: The store of the registry.
            second: Its copy, which may lag.
            clock: Returns the time, in seconds.
        """
        self._first, self._second, self._clock = first, second, clock
        self._away_until = self._asked_at = float("-inf")
        self._asking = Lock()

    @property
    def is_away(self) -> bool:
        """Whether the first store did not answer some seconds ago."""
        return self._clock() < self._away_until

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give bytes of an object, as `BlobStore.read`; what breaks off goes on in the other store.

        Raises:
            BlobMissing: Neither store has it.
            StoreUnavailable: The first does not answer, and the second cannot give it.
        """
        if self.is_away:
            try:
                return self._second.read(key, start, stop)
            except (BlobMissing, IntegrityFailure, StoreMisconfigured, StoreUnavailable):
                return self._first.read(key, start, stop)
        try:
            chunks = self._first.read(key, start, stop)
        except (BlobMissing, IntegrityFailure, StoreMisconfigured, StoreUnavailable) as error:
            return self._read_second(key, start, stop, error)
        return self._go_on(chunks, key, start, stop)

    def url(self, key: str, *, expires_s: int) -> str | None:
        """Sign a URL of the first store; None while that is away, so that the registry serves the bytes itself.

        Whoever has the URL cannot come back, so it is asked now and then whether the store answers.
        """
        url = None if self.is_away else self._first.url(key, expires_s=expires_s)
        if url is not None and self._clock() - self._asked_at >= _ASKED_S and self._asking.acquire(blocking=False):
            try:
                self._first.size(key)
                self._asked_at = self._clock()
            except (StoreMisconfigured, StoreUnavailable) as error:
                self._note_away(key, error)
                return None
            finally:
                self._asking.release()
        return url

    def _go_on(self, chunks: Iterator[bytes], key: str, start: int, stop: int | None) -> Iterator[bytes]:
        at = start
        try:
            for chunk in chunks:
                at += len(chunk)
                yield chunk
        except (IntegrityFailure, StoreUnavailable) as error:
            yield from self._read_second(key, at, stop, error)

    def _read_second(self, key: str, start: int, stop: int | None, error: Exception) -> Iterator[bytes]:
        if isinstance(error, StoreUnavailable | StoreMisconfigured):
            self._note_away(key, error)
        try:
            return self._second.read(key, start, stop)
        except (BlobMissing, IntegrityFailure, StoreMisconfigured, StoreUnavailable):
            raise error from None

    def _note_away(self, key: str, error: Exception) -> None:
        if not self.is_away:
            _log.warning("the store does not give %s, so its copy does for %.0f s: %s", key, _AWAY_S, error)
        self._away_until = self._clock() + _AWAY_S
