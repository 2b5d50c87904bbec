"""A store in this process's memory, for tests and trials; it ends with the process."""

from collections.abc import Iterable, Iterator
from threading import Lock

from deltareg.errors import BlobMissing, Conflict
from deltareg.store.blob_store import (
    CHUNK_BYTES,
    check_prefix,
    folder_of_log,
    key_taken,
    parse_deletable,
    parse_evidence,
    parse_key,
    range_end,
)
from deltareg.store.probe import probe
from deltareg.store.schemes import NoOptions, StoreScheme


class MemoryStore:
    """Objects in a dictionary."""

    def __init__(self) -> None:
        """Start empty."""
        self._objects: dict[str, bytes] = {}
        self._evidence: dict[str, bytes] = {}
        self._lock = Lock()

    def write(self, key: str, body: Iterable[bytes]) -> int:
        parse_key(key)
        data = b"".join(body)
        with self._lock:
            if key in self._objects:
                raise Conflict(key_taken(key))
            self._objects[key] = data
        return len(data)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        parse_key(key)
        data = self._objects.get(key)
        if data is None:
            raise BlobMissing(key)
        end = range_end(key, len(data), start, stop)
        return (data[at : min(at + CHUNK_BYTES, end)] for at in range(start, end, CHUNK_BYTES))

    def size(self, key: str) -> int | None:
        parse_key(key)
        data = self._objects.get(key)
        return None if data is None else len(data)

    def delete(self, key: str) -> None:
        parse_deletable(key)
        with self._lock:
            self._objects.pop(key, None)
            self._evidence.pop(key, None)

    def keys(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        check_prefix(prefix)
        with self._lock:
            found = [(key, len(data)) for key, data in self._objects.items()]
        return ((key, size) for key, size in found if key.startswith(prefix))

    def url(self, key: str, *, expires_s: int) -> str | None:
        parse_key(key)
        return None

    def keep(self, name: str, data: bytes) -> bool:
        self._evidence.setdefault(parse_evidence(name), data)
        return False

    def read_log(self, log: str) -> Iterator[bytes]:
        folder = folder_of_log(log)
        kept = dict(self._evidence)
        return (kept[name] for name in sorted(kept) if name.startswith(folder))

    def check(self) -> None:
        probe(self, where="memory://")


SCHEME = StoreScheme("memory", "memory://", lambda _url, _options: MemoryStore(), NoOptions)
