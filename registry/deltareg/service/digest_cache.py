"""A cache, by digest, of values computed from bytes that never change.

Only what follows from the bytes alone is cached, so nothing here can be stale. What may change,
such as what a channel serves or whether a token is valid, is read anew for each request.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from deltareg.delta.base_manifest import base_view
from deltareg.delta.kind import BaseView
from deltareg.identity.manifest import Manifest

T = TypeVar("T")


class DigestCache(Generic[T]):
    """Values by digest; the least recently used go first. Threads may share it."""

    def __init__(self, *, bytes_max: int) -> None:
        """Create an empty cache.

        Args:
            bytes_max: The total size of the sources of all cached values; a value whose source is
                larger than a quarter of it is not cached.
        """
        self._bytes_max = bytes_max
        self._found: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def get(self, digest: str) -> T | None:
        """Return a cached value; None if there is none."""
        with self._lock:
            if digest not in self._found:
                return None
            self._found.move_to_end(digest)
            return self._found[digest][0]

    def keep(self, digest: str, value: T, *, size_bytes: int) -> T:
        """Cache a value and return it."""
        if size_bytes > self._bytes_max // 4:
            return value
        with self._lock:
            _, before = self._found.pop(digest, (value, 0))
            self._found[digest] = (value, size_bytes)
            self._size_bytes += size_bytes - before
            while self._size_bytes > self._bytes_max:
                _, (_, freed_bytes) = self._found.popitem(last=False)
                self._size_bytes -= freed_bytes
        return value


@dataclass(frozen=True, slots=True)
class ManifestSummary:
    """The parts of a manifest that are shown of a version.

    Attributes:
        source: The library that wrote the files, and its version.
        config: The kind's configuration.
        tensors: How many tensors it has.
        modules: How many modules or tensors of the base they act on.
        files: The paths of its files.
    """

    source: str
    config: dict[str, object]
    tensors: int
    modules: int
    files: list[str]


_MANIFESTS: Final = DigestCache[Manifest](bytes_max=8 << 20)
_VIEWS: Final = DigestCache[BaseView](bytes_max=8 << 20)
_TOLD: Final = DigestCache[ManifestSummary](bytes_max=16 << 20)
_GOLDEN: Final = DigestCache[str](bytes_max=1 << 20)


def decode_manifest(digest: str, raw: Callable[[], bytes]) -> Manifest:
    """Decode a manifest, or return the cached one.

    Args:
        digest: The digest of its bytes, computed when they were received.
        raw: Returns the bytes; called only if the manifest is not cached.

    Raises:
        Refused: The manifest is malformed.
    """
    cached = _MANIFESTS.get(digest)
    if cached is not None:
        return cached
    document = raw()
    return _MANIFESTS.keep(digest, Manifest.decode(document), size_bytes=len(document))


def view_of_base(digest: str, raw: Callable[[], bytes]) -> BaseView:
    """Return a base as kinds see it; the arguments are those of `decode_manifest`."""
    cached = _VIEWS.get(digest)
    if cached is not None:
        return cached
    document = raw()
    view = base_view(Manifest.decode(document))
    return _VIEWS.keep(digest, view, size_bytes=len(document))


def golden_in_verdict(verdict_id: str, checks: Callable[[], Sequence[Mapping[str, object]]]) -> str:
    """Return what a verdict says of golden outputs: where they come from, and whether they hold; empty for nothing.

    Args:
        verdict_id: Its id, which is random, and of no other verdict anywhere.
        checks: Returns its checks; called only if it is not cached.
    """
    cached = _GOLDEN.get(verdict_id)
    if cached is not None:
        return cached
    told = ""
    for check in checks():
        source = str(check.get("detail", "")).partition(";")[0]
        if check["name"] == "golden" and source.startswith("recorded "):
            told = f"{source}: {check['verdict']}"
            break
    return _GOLDEN.keep(verdict_id, told, size_bytes=len(told) + len(verdict_id))


def describe_manifest(digest: str, raw: Callable[[], bytes]) -> ManifestSummary:
    """Summarise the manifest of a version; the arguments are those of `decode_manifest`."""
    cached = _TOLD.get(digest)
    if cached is not None:
        return cached
    document = raw()
    manifest = decode_manifest(digest, lambda: document)
    summary = ManifestSummary(
        source=f"{manifest.source.library} {manifest.source.version}".strip(),
        config=dict(manifest.config),
        tensors=len(manifest.tensors),
        modules=len({tensor.target for tensor in manifest.tensors if tensor.target}),
        files=[file.path for file in manifest.files],
    )
    # Its size is at most that of the rest of the document, and mostly far less.
    tensors_bytes = sum(len(t.name) + len(t.target) + len(t.digest.hex) for t in manifest.tensors)
    return _TOLD.keep(digest, summary, size_bytes=max(1 << 10, len(document) - tensors_bytes))
