"""Reads packs: fetches ahead, by ranges and in the order of need, what the cache lacks."""

import mmap
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Self

from deltareg.client.cache.cache import Cache
from deltareg.client.cache.parts import PackPart
from deltareg.client.context import Context
from deltareg.digest import Digest
from deltareg.errors import IntegrityFailure, Unavailable
from deltareg.host.lean_httpx import httpx
from deltareg.host.waits import interruptible
from deltareg.identity.pack_spans import ByteSpan, coalesce, is_nearly_whole, missing, span_of
from deltareg.identity.storage_map import Chunk, StorageMap

_OPEN_FILES = 256


@dataclass(frozen=True, slots=True)
class _Place:
    """A file of the cache, and the offset in the pack that it begins with."""

    path: Path
    begin: int = 0


@dataclass(slots=True)
class _Source:
    """Where some chunks come from: how to fetch them, and where they are or will be."""

    bring: Callable[[], _Place]
    place: _Place | Future[_Place] | None = None

    def wait(self) -> _Place:
        """Return the place, once it has been fetched."""
        if isinstance(self.place, Future):
            return interruptible(self.place)
        return self.bring() if self.place is None else self.place


class PackReader:
    """The chunks that a manifest needs: fetched ahead, kept in the cache, mapped for reading.

    Use it as a context manager; leaving it unmaps everything and cancels pending fetches.
    """

    def __init__(
        self,
        context: Context,
        storage: StorageMap,
        chunks: Iterable[Chunk],
        *,
        of: str,
        concurrency: int,
        moved: Callable[[int], None],
    ) -> None:
        """Prepare; nothing is fetched yet.

        Args:
            context: The client's surroundings.
            storage: The storage map that says where everything is.
            chunks: The chunks that will be read, in the order of need.
            of: What needs the packs: `ns/name:v3` or `base:NAME`.
            concurrency: How many requests run at the same time.
            moved: Told of fetched bytes.
        """
        self.fetched_bytes = 0
        self.cached_bytes = 0
        self._context, self._api, self._of = context, context.api, of
        self._moved = moved
        self._exits = ExitStack()
        self._cache = self._own = context.cache
        self._sizes = {pack.digest: pack.size_bytes for pack in storage.packs}
        self._spans: dict[Digest, dict[ByteSpan, None]] = {}
        for chunk in chunks:
            self._spans.setdefault(chunk.pack, {})[span_of(chunk)] = None
        self._pool = ThreadPoolExecutor(concurrency)
        self._sources: dict[tuple[Digest, ByteSpan], _Source] = {}
        self._maps: dict[Path, memoryview] = {}
        self._lock = Lock()
        self._is_over = False

    def __enter__(self) -> Self:
        """Find what the cache has, and begin to fetch the rest in the order of need."""
        self._own = Cache(self._exits.enter_context(self._cache.draft()))
        for digest, spans in self._spans.items():
            for source in list(self._plan(digest, list(spans))):
                source.place = self._pool.submit(source.bring)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Unmap; what waits to be fetched is dropped, and what is being fetched is given up."""
        self._is_over = True
        # Ctrl-C does not wait for threads that may be stuck in a network that gives nothing.
        self._pool.shutdown(wait=kind is not KeyboardInterrupt, cancel_futures=True)
        self._maps.clear()
        self._exits.close()

    def read(self, chunk: Chunk) -> memoryview:
        """Return a chunk's encoded bytes."""
        source = self._sources[chunk.pack, span_of(chunk)]
        place = source.wait()
        while (data := self._map(place.path)) is None:
            # Another process has just pruned the cache, or joined its parts. When it prunes all the
            # time, what is still needed comes into a place that nobody prunes.
            place = source.place = source.bring()
            if not place.path.exists():
                self._cache = self._own
        return data[chunk.offset - place.begin : chunk.offset - place.begin + chunk.length]

    def drop_damaged(self) -> bool:
        """Remove damaged packs from the cache, to refetch them; return whether there were any."""
        return self._context.cache.drop_damaged(self._spans)

    def _map(self, path: Path) -> memoryview | None:
        """Map a file; None if it is no longer there."""
        with self._lock:
            view = self._maps.get(path)
            if view is None:
                try:
                    with path.open("rb") as file:
                        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                except FileNotFoundError:
                    return None
                if len(self._maps) == _OPEN_FILES:
                    del self._maps[next(iter(self._maps))]  # who reads from it keeps it open
                self._maps[path] = view
            return view

    def _plan(self, digest: Digest, spans: list[ByteSpan]) -> Iterator[_Source]:
        """Find a source for each span of a pack, and yield those that have to be fetched."""
        whole = partial(self._whole, digest)
        blob = self._blob(digest)
        parts = self._cache.parts.find(digest)
        if blob is not None:
            self._hold(digest, spans, _Source(whole, _Place(blob)))
            return
        by_span = {span: part for span in spans if (part := _holder(parts, span)) is not None}
        stretches = coalesce(span for span in spans if span not in by_span)
        wanted_bytes = sum(stretch.size_bytes for stretch in (*stretches, *coalesce(by_span)))
        if stretches and is_nearly_whole(wanted_bytes, self._sizes[digest]):
            self.cached_bytes += sum(span.size_bytes for span in by_span)
            yield self._assign(digest, spans, _Source(whole))
            return
        for span, part in by_span.items():
            place = _Place(part.path, part.span.begin)
            self._hold(digest, [span], _Source(partial(self._stretch, digest, span), place))
        order = {span: number for number, span in enumerate(spans)}
        for stretch in sorted(stretches, key=lambda s: min(order[i] for i in stretches[s])):
            source = _Source(partial(self._stretch, digest, stretch))
            yield self._assign(digest, stretches[stretch], source)

    def _hold(self, digest: Digest, spans: list[ByteSpan], source: _Source) -> None:
        self._assign(digest, spans, source)
        self.cached_bytes += sum(span.size_bytes for span in spans)

    def _assign(self, digest: Digest, spans: list[ByteSpan], source: _Source) -> _Source:
        self._sources |= {(digest, span): source for span in spans}
        return source

    def _blob(self, digest: Digest) -> Path | None:
        path = self._cache.find_blob(digest)
        try:
            is_whole = path is not None and path.stat().st_size == self._sizes[digest]
        except FileNotFoundError:  # pruned at this moment
            return None
        return path if is_whole else None

    def _stretch(self, digest: Digest, span: ByteSpan) -> _Place:
        """Fetch a stretch of a pack, unless another process has."""
        blob = self._blob(digest)
        if blob is not None:
            return _Place(blob)
        part = _holder(self._cache.parts.find(digest), span)
        if part is not None:
            return _Place(part.path, part.span.begin)
        return self._api.patiently(partial(self._download, digest, span))

    def _whole(self, digest: Digest) -> _Place:
        """Fetch a whole pack, unless another process has."""
        blob = self._blob(digest)
        return self._api.patiently(partial(self._complete, digest)) if blob is None else _Place(blob)

    def _complete(self, digest: Digest) -> _Place:
        """Fetch what no part holds of a pack, and join the parts."""
        size = self._sizes[digest]
        absent = missing((part.span for part in self._cache.parts.find(digest)), size)
        if sum(span.size_bytes for span in absent) < size:
            for span in absent:
                self._download(digest, span)
            place = self._join_parts(digest)
            if place is not None:
                return place
        return self._download(digest, ByteSpan(0, size))

    def _join_parts(self, digest: Digest) -> _Place | None:
        """Join parts to a pack; None if one of them is damaged or was pruned."""
        size = self._sizes[digest]
        body = self._cache.parts.read(digest, until=size)
        try:
            path = self._cache.keep_blob(digest, body, size_bytes=size)
        except (FileNotFoundError, IntegrityFailure):
            path = None
        if path is None:
            self._cache.parts.drop(digest)
        return None if path is None else _Place(path)

    def _download(self, digest: Digest, span: ByteSpan) -> _Place:
        """Fetch bytes of a pack in one try; what arrives before it breaks off is kept."""
        size = self._sizes[digest]
        is_whole = span == ByteSpan(0, size)
        headers = {} if is_whole else {"Range": f"bytes={span.begin}-{span.end - 1}"}
        with self._api.download(f"/blobs/{digest}", query={"of": self._of}, headers=headers) as response:
            if response.status_code == 200:  # the whole pack, also where something knows no ranges
                body = _Body(self._api.read(response), size, self._go_on)
                blob = self._cache.keep_blob(digest, body, size_bytes=size)
                body.check()
                return _Place(self._cache.blob_path(digest) if blob is None else blob)
            _check_range(response, span, size)
            body = _Body(self._api.read(response), span.size_bytes, self._go_on)
            part = self._cache.parts.keep(digest, span.begin, body)
            body.check()
            return _Place(part.path, part.span.begin)

    def _go_on(self, received_bytes: int) -> None:
        """Count received bytes, and stop if nobody waits for the rest, as after Ctrl-C."""
        if self._is_over:
            raise CancelledError
        with self._lock:
            self.fetched_bytes += received_bytes
        self._moved(received_bytes)


class _Body:
    """The bytes of an answer; it ends where they break off, and `check` raises the reason."""

    def __init__(self, chunks: Iterator[bytes], size_bytes: int, go_on: Callable[[int], None]) -> None:
        self._chunks, self._size, self._go_on = chunks, size_bytes, go_on
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        remaining_bytes = self._size
        try:
            for chunk in self._chunks:
                self._go_on(len(chunk))
                yield chunk[:remaining_bytes]
                remaining_bytes -= len(chunk)
                if remaining_bytes < 0:
                    break
        except (httpx.HTTPError, CancelledError, Unavailable) as error:
            self._error = error
        if self._error is None and remaining_bytes != 0:
            self._error = Unavailable("a pack came with another length than it has", fix="try again")

    def check(self) -> None:
        """Raise the error that broke it off, if any."""
        if self._error is not None:
            raise self._error


def lacking_bytes(cache: Cache, storage: StorageMap, chunks: Iterable[Chunk]) -> int:
    """Return how many bytes a reader of some chunks would fetch, gaps between them included."""
    sizes = {pack.digest: pack.size_bytes for pack in storage.packs}
    spans: dict[Digest, set[ByteSpan]] = {}
    for chunk in chunks:
        spans.setdefault(chunk.pack, set()).add(span_of(chunk))
    total = 0
    for digest, pack_spans in spans.items():
        if cache.find_blob(digest) is None:
            parts = cache.parts.find(digest)
            present = coalesce(span for span in pack_spans if _holder(parts, span) is not None)
            absent = coalesce(span for span in pack_spans if _holder(parts, span) is None)
            needed_bytes = sum(stretch.size_bytes for stretch in (*present, *absent))
            is_whole = absent and is_nearly_whole(needed_bytes, sizes[digest])
            lacking = missing((part.span for part in parts), sizes[digest]) if is_whole else absent
            total += sum(stretch.size_bytes for stretch in lacking)
    return total


def _holder(parts: Iterable[PackPart], span: ByteSpan) -> PackPart | None:
    """Return a part that holds all of a span, or None."""
    return next((part for part in parts if part.span.holds(span)), None)


def _check_range(response: httpx.Response, span: ByteSpan, size_bytes: int) -> None:
    """Check that an answer is the requested range.

    Raises:
        IntegrityFailure: The stored pack has another length.
    """
    expected = f"bytes {span.begin}-{span.end - 1}/{size_bytes}"
    actual = response.headers.get("Content-Range", "")
    if response.status_code != 206 or actual != expected:
        raise IntegrityFailure(
            f"a pack was asked for {expected} and gave {actual[:80] or 'no range'}",
            fix="push the same folder again, or ask for `deltareg fsck --repair`",
        )
