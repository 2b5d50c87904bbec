"""Fetching packs and putting pieces together again, checked on the way."""

import hashlib
import mmap
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import httpx

from deltareg.client.context import Context
from deltareg.client.progress import Meter
from deltareg.client.weights_file import write_stream
from deltareg.codec import OrderedPool, PieceRequest, ReadRange, decode_pieces
from deltareg.digest import Digest, Hasher
from deltareg.errors import IntegrityFailure, Unavailable
from deltareg.formula import Tensor
from deltareg.manifest import Manifest, ManifestFile, Piece
from deltareg.storage_map import Chunk, StorageMap
from deltareg.tensors import parse_header

_DECODERS = 2
_STEP = 1 << 20


class PackReader:
    """The packs of one version or base: fetched ahead, kept in the cache, mapped for reading.

    Use it as a context manager; leaving it unmaps everything and stops what is still fetching.
    """

    def __init__(self, context: Context, storage: StorageMap, *, of: str, concurrency: int) -> None:
        """Start fetching nothing yet.

        Args:
            context: The client's surroundings.
            storage: Where everything is.
            of: What needs the packs: `ns/name:v3` or `base:NAME`.
            concurrency: Packs fetched at the same time.
        """
        self.fetched_bytes = 0
        self.cached_bytes = 0
        self._context = context
        self._of = of
        self._sizes = {pack.digest: pack.size_bytes for pack in storage.packs}
        self._pool = ThreadPoolExecutor(concurrency)
        self._paths: dict[Digest, Future[Path]] = {}
        self._maps: dict[Digest, memoryview] = {}
        self._is_over = False

    def __enter__(self) -> Self:
        """Begin to fetch all packs, in order."""
        for digest in self._sizes:
            self._paths[digest] = self._pool.submit(self._fetch, digest)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Unmap; what waits to be fetched is dropped, and what is being fetched is given up."""
        self._is_over = True
        # Ctrl-C does not wait for threads that may be stuck in a network that gives nothing.
        self._pool.shutdown(wait=kind is not KeyboardInterrupt, cancel_futures=True)
        self._maps.clear()

    def read(self, chunk: Chunk) -> memoryview:
        """Give a chunk's encoded bytes."""
        return self._map(chunk.pack)[chunk.offset : chunk.offset + chunk.length]

    def _map(self, digest: Digest) -> memoryview:
        mapped = self._maps.get(digest)
        if mapped is None:
            with self._open(digest) as file:
                mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self._maps[digest] = mapped
        return mapped

    def _open(self, digest: Digest) -> BinaryIO:
        try:
            return self._paths[digest].result().open("rb")
        except FileNotFoundError:  # another process has just pruned the cache
            return self._fetch(digest).open("rb")

    def drop_damaged(self) -> bool:
        """Take damaged packs out of the cache, to be fetched again; tells if there were any."""
        return self._context.cache.drop_damaged(self._sizes)

    def _fetch(self, digest: Digest) -> Path:
        size = self._sizes[digest]
        kept = self._context.cache.find_blob(digest)
        if kept is not None and kept.stat().st_size == size:
            self.cached_bytes += size
            return kept
        path = self._context.api.patiently(lambda: self._download(digest))
        self.fetched_bytes += size
        return path

    def _download(self, digest: Digest) -> Path:
        with self._context.api.download(f"/blobs/{digest}", query={"of": self._of}) as response:
            return self._context.cache.keep_blob(digest, self._until_over(response))

    def _until_over(self, response: httpx.Response) -> Iterator[bytes]:
        for chunk in response.iter_bytes(_STEP):
            if self._is_over:  # nobody waits for the rest of this pack: Ctrl-C, for one
                raise CancelledError
            yield chunk


def write_files(
    folder: Path,
    manifest: Manifest,
    storage: StorageMap,
    packs: PackReader,
    *,
    references: Mapping[Digest, Tensor],
    meter: Meter,
) -> None:
    """Write every file of a manifest into a folder, byte for byte as it was pushed.

    Raises:
        IntegrityFailure: A file is not what its sha256 says.
    """
    with OrderedPool(_DECODERS) as pool:
        rebuild = _Rebuild(storage, packs, references, pool)
        for file in manifest.files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            body = _file_bytes(manifest, file, rebuild)
            _write_checked(target, body, expected=file.digest, meter=meter)


def _write_checked(
    target: Path, body: Iterable[memoryview | bytes], *, expected: Digest, meter: Meter
) -> None:
    """Write a file and hash it on the way.

    Raises:
        IntegrityFailure: It is not what `expected` says.
        DiskFull: There is no room.
    """
    hasher = hashlib.sha256()
    write_stream(target, _hashed(body, hasher), meter=meter)
    digest = Digest("sha256", hasher.hexdigest())
    if digest != expected:
        raise IntegrityFailure(
            f"{target.name} was rebuilt as {digest.short}, expected {expected.short}",
            fix="pull again; if it happens again, ask for `deltareg fsck --read-data`",
        )


def _hashed(body: Iterable[memoryview | bytes], hasher: Hasher) -> Iterator[memoryview | bytes]:
    for chunk in body:
        hasher.update(chunk)
        yield chunk


class _Rebuild:
    """Gives the bytes of pieces, one after another."""

    def __init__(
        self,
        storage: StorageMap,
        packs: PackReader,
        references: Mapping[Digest, Tensor],
        pool: OrderedPool,
    ) -> None:
        self._storage, self._packs = storage, packs
        self._references, self._pool = references, pool

    def __call__(self, pieces: Iterable[Piece]) -> Iterator[memoryview]:
        requests = map(self._request, pieces)
        return decode_pieces(requests, fetch=self._packs.read, pool=self._pool)

    def _request(self, piece: Piece) -> PieceRequest:
        stored = self._storage.pieces.get(piece.digest)
        if stored is None:
            raise IntegrityFailure(f"the storage map has no place for {piece.digest}")
        return PieceRequest(stored, piece, self._reference(stored.reference))

    def _reference(self, digest: Digest | None) -> ReadRange | None:
        if digest is None:
            return None
        tensor = self._references.get(digest)
        if tensor is None:
            raise Unavailable(f"the base tensor {digest.short} is needed and not at hand")
        data = tensor.read()
        return lambda begin, end: data[begin:end]


def _file_bytes(manifest: Manifest, file: ManifestFile, rebuild: _Rebuild) -> Iterator[memoryview]:
    if not file.is_tensors:
        yield from rebuild([file.part])
        return
    head = b"".join(rebuild([file.part]))
    yield memoryview(head)
    pieces = {t.name: t.piece for t in manifest.tensors if t.file == file.path}
    # In the order of their data, decoded ahead across the borders of tensors.
    yield from rebuild(pieces[name] for name in parse_header(head, file.size_bytes).tensors)
