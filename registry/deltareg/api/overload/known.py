"""Whose requests are whose: which principal was behind a token the last time, and which tokens are live at all.

Neither opens anything: each token is checked by its own request. It only tells what a request counts for.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from hashlib import blake2b, sha256

import anyio.to_thread

from deltareg.errors import Unavailable

_MOST = 20_000
_REREAD_S = 10.0


class KnownPrincipals:
    """The principals behind credentials that were valid, by a digest; the longest unused go first."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._principals: OrderedDict[bytes, int] = OrderedDict()

    def principal_of(self, credentials: bytes) -> int | None:
        """Return the principal that was behind credentials; None if they were not valid yet."""
        digest = _digest(credentials)
        principal = self._principals.get(digest)
        if principal is not None:
            self._principals.move_to_end(digest)
        return principal

    def note(self, credentials: bytes, principal: int) -> None:
        """Note that credentials were valid."""
        self._principals[_digest(credentials)] = principal
        if len(self._principals) > _MOST:
            self._principals.popitem(last=False)

    def forget(self, credentials: bytes) -> None:
        """Note that credentials are not valid any more."""
        self._principals.pop(_digest(credentials), None)


class LiveTokens:
    """The hashes of all live tokens, read at most every few seconds, and only while somebody sends bad ones.

    By it, a valid token is told from a bad one without a look into the database for each, so that those who share an
    address with whoever sends bad ones go on.
    """

    def __init__(self, read: Callable[[], Collection[str]]) -> None:
        """Begin with none read.

        Args:
            read: Reads them; may block.
        """
        self._read = read
        self._hashes: Collection[str] = frozenset()
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def has(self, authorization: bytes) -> bool:
        """Whether an `Authorization` header holds a token that was live some seconds ago."""
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        await self._reread()
        return sha256(token.strip()).hexdigest() in self._hashes

    async def _reread(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._lock:
            if loop.time() - self._read_at < _REREAD_S:
                return
            with suppress(Unavailable):  # what was read last is as good as any
                self._hashes = await anyio.to_thread.run_sync(self._read)
            self._read_at = loop.time()


def _digest(credentials: bytes) -> bytes:
    return blake2b(credentials, digest_size=16).digest()
