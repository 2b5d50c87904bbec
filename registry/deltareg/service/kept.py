"""What was worked out from bytes that never change, kept by their digest for whoever asks next.

Only what follows from the bytes alone is kept, so nothing here can be out of date: what a channel
serves, whether a token holds and what else may change is read anew for each request.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from deltareg.delta.base_manifest import base_view
from deltareg.delta.kind import BaseView
from deltareg.identity.manifest import Manifest

T = TypeVar("T")


class DigestCache(Generic[T]):
    """Values by digest; those that were not asked for longest go first. Threads may share it."""

    def __init__(self, *, bytes_max: int) -> None:
        """Keep nothing yet.

        Args:
            bytes_max: How many bytes of sources the values may have been worked out from together;
                one that is larger than a quarter of it alone is not kept.
        """
        self._bytes_max = bytes_max
        self._found: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def get(self, digest: str) -> T | None:
        """Give a value that is kept."""
        with self._lock:
            if digest not in self._found:
                return None
            self._found.move_to_end(digest)
            return self._found[digest][0]

    def keep(self, digest: str, value: T, *, size_bytes: int) -> T:
        """Keep a value, and give it."""
        if size_bytes > self._bytes_max // 4:
            return value
        with self._lock:
            _, before = self._found.pop(digest, (value, 0))
            self._found[digest] = (value, size_bytes)
            self._size_bytes += size_bytes - before
            while self._size_bytes > self._bytes_max:
                _, (_, gone) = self._found.popitem(last=False)
                self._size_bytes -= gone
        return value


@dataclass(frozen=True, slots=True)
class ManifestSummary:
    """What a manifest says of a version, as far as it is shown.

    Attributes:
        source: The library that wrote the files, and its version.
        config: The kind's configuration.
        tensors: How many there are.
        modules: How many modules or tensors of the base they act on.
        files: Their paths.
    """

    source: str
    config: dict[str, object]
    tensors: int
    modules: int
    files: list[str]


_MANIFESTS: Final = DigestCache[Manifest](bytes_max=8 << 20)
_VIEWS: Final = DigestCache[BaseView](bytes_max=8 << 20)
_TOLD: Final = DigestCache[ManifestSummary](bytes_max=16 << 20)


def decode_manifest(digest: str, raw: Callable[[], bytes]) -> Manifest:
    """Decode a manifest, or give it as it was decoded before.

    Args:
        digest: The digest of its bytes, which was taken when they came.
        raw: Gives the bytes; asked only where it is not kept.

    Raises:
        Refused: It is malformed.
    """
    found = _MANIFESTS.get(digest)
    if found is not None:
        return found
    document = raw()
    return _MANIFESTS.keep(digest, Manifest.decode(document), size_bytes=len(document))


def view_of_base(digest: str, raw: Callable[[], bytes]) -> BaseView:
    """Show a base to a kind; arguments as those of `decoded`."""
    found = _VIEWS.get(digest)
    if found is not None:
        return found
    document = raw()
    view = base_view(Manifest.decode(document))
    return _VIEWS.keep(digest, view, size_bytes=len(document))


def describe_manifest(digest: str, raw: Callable[[], bytes]) -> ManifestSummary:
    """Say what a manifest says of a version; arguments as those of `decoded`."""
    found = _TOLD.get(digest)
    if found is not None:
        return found
    document = raw()
    manifest = decode_manifest(digest, lambda: document)
    said = ManifestSummary(
        source=f"{manifest.source.library} {manifest.source.version}".strip(),
        config=dict(manifest.config),
        tensors=len(manifest.tensors),
        modules=len({tensor.target for tensor in manifest.tensors if tensor.target}),
        files=[file.path for file in manifest.files],
    )
    # Its size is at most that of the rest of the document, and mostly far less.
    tensors_bytes = sum(len(t.name) + len(t.target) + len(t.digest.hex) for t in manifest.tensors)
    return _TOLD.keep(digest, said, size_bytes=max(1 << 10, len(document) - tensors_bytes))
