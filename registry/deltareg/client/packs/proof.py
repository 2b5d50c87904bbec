"""Checks that stored bytes are what a manifest says: decodes every piece, compares every digest.

A worker fetches the encoded chunks into one file, in the order of need. They are not decoded where
they are fetched, only where a failure does no harm.
"""

import hashlib
import mmap
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.packs.rebuilt_files import file_bytes
from deltareg.codec import OrderedPool, ReadRange
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.digest import Digest
from deltareg.errors import BaseMismatch, IntegrityFailure, Refused
from deltareg.identity.manifest import Manifest, ManifestFile, Piece
from deltareg.identity.needed_chunks import chunks_in_order
from deltareg.identity.storage_map import Chunk, StorageMap

MOST_WRONG = 100
LIES = (IntegrityFailure, BaseMismatch, Refused)
"""What is raised where stored bytes are not what a manifest says."""


@dataclass(frozen=True, slots=True)
class ProofMismatch:
    """A piece (by its digest) or a file (by its path) that is not what the manifest says."""

    name: str
    detail: str


def write_chunks(path: Path, chunks: Iterable[Chunk], read: Callable[[Chunk], bytes | memoryview]) -> None:
    """Write encoded chunks one after another."""
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(read(chunk))


@contextmanager
def rebuilding(
    manifest: Manifest, storage: StorageMap, chunks: Path, references: Mapping[Digest, ReadRange], *, workers: int
) -> Generator[PieceRebuilder, None, None]:
    """Yield a rebuilder of pieces from a file of `write_chunks`; arguments as for `wrong_parts`."""
    with _Chunks(chunks, chunks_in_order(manifest, storage)) as reader, OrderedPool(workers) as pool:
        yield PieceRebuilder(storage, reader.read, references, pool)


def wrong_parts(
    manifest: Manifest, storage: StorageMap, chunks: Path, references: Mapping[Digest, ReadRange], *, workers: int
) -> Iterator[ProofMismatch]:
    """Decode everything and yield what is wrong; at most `MOST_WRONG` mismatches.

    Args:
        manifest: What it has to be.
        storage: How it is stored.
        chunks: The file that `write_chunks` wrote from `chunks_in_order`.
        references: Tensors of the base, by digest.
        workers: Threads to decode with.

    Raises:
        Unavailable: A tensor of the base is needed and not at hand, so nothing can be concluded.
    """
    with rebuilding(manifest, storage, chunks, references, workers=workers) as rebuild:
        count = 0
        for file in manifest.files:
            for wrong in _wrong_in(manifest, file, rebuild):
                yield wrong
                count += 1
                if count == MOST_WRONG:
                    return


def _wrong_in(manifest: Manifest, file: ManifestFile, rebuild: PieceRebuilder) -> Iterator[ProofMismatch]:
    hasher = hashlib.sha256()
    try:
        for data in file_bytes(manifest, file, rebuild):
            hasher.update(data)
    except LIES as error:
        pieces = list(_wrong_pieces(manifest, file, rebuild))
        yield from pieces or [ProofMismatch(file.path, error.message)]
        return
    if hasher.hexdigest() != file.digest.hex:
        yield ProofMismatch(file.path, f"it is sha256:{hasher.hexdigest()}, not {file.digest}")


def _wrong_pieces(manifest: Manifest, file: ManifestFile, rebuild: PieceRebuilder) -> Iterator[ProofMismatch]:
    own: list[Piece] = [file.part]
    own += [tensor.piece for tensor in manifest.tensors if tensor.file == file.path]
    for piece in dict.fromkeys(own):
        try:
            deque(rebuild([piece]), maxlen=0)
        except LIES as error:
            yield ProofMismatch(str(piece.digest), error.message)


class _Chunks:
    """Reads what `write_chunks` wrote."""

    def __init__(self, path: Path, chunks: Iterable[Chunk]) -> None:
        self._path = path
        self._begins: dict[tuple[Digest, int, int], int] = {}
        begin = 0
        for chunk in chunks:
            self._begins[chunk.pack, chunk.offset, chunk.length] = begin
            begin += chunk.length
        self._data = memoryview(b"")

    def __enter__(self) -> "_Chunks":
        if self._path.stat().st_size:
            with self._path.open("rb") as file:
                self._data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return self

    def __exit__(self, *_: object) -> None:
        self._data = memoryview(b"")

    def read(self, chunk: Chunk) -> memoryview:
        begin = self._begins[chunk.pack, chunk.offset, chunk.length]
        return self._data[begin : begin + chunk.length]
