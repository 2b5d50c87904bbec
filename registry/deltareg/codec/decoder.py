"""Decoding chunks and pieces, each checked before it is believed.

::

    decode_chunk(payload, chunk, item_bytes=2, reference=None) -> memoryview
    with OrderedPool(2) as pool:          # leave the pool out to decode in the calling thread
        for data in decode_piece(stored, piece, fetch=fetch, read_reference=read, pool=pool):
            file.write(data)

Everything that comes from a pack or a storage map is untrusted: sizes are checked before anything
is allocated, chunks against their xxh3, whole pieces against their own digest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import xxhash

from deltareg.codec.chunk_codec import CHUNK_ELEMENTS, damaged, same_size
from deltareg.codec.codecs import thread_codecs
from deltareg.codec.ordered import OrderedPool
from deltareg.codec.sources import ReadRange
from deltareg.digest import open_tensor_hasher
from deltareg.manifest import Piece
from deltareg.storage_map import Chunk, StoredPiece
from deltareg.tensors import ITEM_BYTES

Fetch = Callable[[Chunk], bytes | memoryview]


def decode_chunk(
    payload: bytes | memoryview,
    chunk: Chunk,
    *,
    item_bytes: int,
    reference: memoryview | None = None,
) -> memoryview:
    """Decode one chunk and check it.

    Args:
        payload: The chunk's bytes in its pack.
        chunk: What the storage map says of it.
        item_bytes: Bytes of an element of the piece.
        reference: The same bytes of the reference, for a chunk that was encoded against one.

    Returns:
        `chunk.size_bytes` bytes in a buffer of their own (or the payload itself).

    Raises:
        IntegrityFailure: The payload is damaged, or the chunk is one that no encoder makes.
        BaseMismatch: The chunk needs a reference, and it is missing or of another size.
    """
    _check_chunk(chunk, item_bytes)
    if len(payload) != chunk.length:
        raise damaged(f"{len(payload)} bytes were fetched for a chunk of {chunk.length}")
    codec = thread_codecs()[chunk.codec]
    data = codec.decode(payload, reference, size_bytes=chunk.size_bytes, item_bytes=item_bytes)
    if xxhash.xxh3_64_intdigest(data) != chunk.check:
        against = " (or its reference is another one)" if codec.uses_reference else ""
        raise damaged(f"a chunk of pack {chunk.pack.short} is not what was encoded{against}")
    return data


def decode_piece(
    piece: StoredPiece,
    want: Piece,
    *,
    fetch: Fetch,
    read_reference: ReadRange | None = None,
    pool: OrderedPool | None = None,
) -> Iterator[memoryview]:
    """Give a piece's bytes in order, a chunk at a time.

    The digest is known only at the end: bytes must not be used before the iterator has ended
    without an error. Write them to a temporary name, as for any download.

    Args:
        piece: Where it is stored.
        want: What the manifest says it is.
        fetch: Gives a chunk's payload; called from the pool's threads.
        read_reference: Bytes of the piece named by `piece.reference`.
        pool: Threads to decode with; at most two chunks a worker are held.

    Raises:
        IntegrityFailure: A chunk or the whole piece is not what was pushed.
        BaseMismatch: The reference is needed, and it is missing or of another size.
    """
    jobs = _plan(piece, want, fetch, read_reference)
    decoded = map(_Job.run, jobs) if pool is None else pool.map(_Job.run, jobs)
    hasher = open_tensor_hasher(want.dtype, want.shape)
    for data in decoded:
        hasher.update(data)
        yield data
    if hasher.hexdigest() != want.digest.hex:
        raise damaged(f"the tensor decoded from {len(piece.chunks)} chunks is not {want.digest}")


@dataclass(frozen=True, slots=True)
class _Job:
    """One chunk to fetch and decode, or a range of the reference that is the piece itself."""

    chunk: Chunk | None
    fetch: Fetch
    read_reference: ReadRange | None
    begin: int
    end: int
    item_bytes: int

    def run(self) -> memoryview:
        if self.chunk is None:
            return same_size(self._reference(), self.end - self.begin)
        uses_reference = thread_codecs()[self.chunk.codec].uses_reference
        return decode_chunk(
            self.fetch(self.chunk),
            self.chunk,
            item_bytes=self.item_bytes,
            reference=self._reference() if uses_reference else None,
        )

    def _reference(self) -> memoryview | None:
        read = self.read_reference
        return None if read is None else read(self.begin, self.end).cast("B")


def _plan(
    piece: StoredPiece, want: Piece, fetch: Fetch, read_reference: ReadRange | None
) -> Iterator[_Job]:
    item_bytes = ITEM_BYTES[want.dtype]
    if piece.is_unchanged:
        step = CHUNK_ELEMENTS * item_bytes
        ranges = ((begin, begin + step) for begin in range(0, want.size_bytes, step))
        for begin, end in ranges:
            yield _Job(None, fetch, read_reference, begin, min(end, want.size_bytes), item_bytes)
        return
    _check_piece(piece, want, item_bytes)
    begin = 0
    for chunk in piece.chunks:
        end = begin + chunk.size_bytes
        yield _Job(chunk, fetch, read_reference, begin, end, item_bytes)
        begin = end


def _check_piece(piece: StoredPiece, want: Piece, item_bytes: int) -> None:
    for chunk in piece.chunks:
        _check_chunk(chunk, item_bytes)
        if piece.reference is None and thread_codecs()[chunk.codec].uses_reference:
            raise damaged(f"a chunk of {want.digest} needs a reference and none is named")
    size = sum(chunk.size_bytes for chunk in piece.chunks)
    if size != want.size_bytes:
        raise damaged(f"the chunks of {want.digest} hold {size} bytes, not {want.size_bytes}")


def _check_chunk(chunk: Chunk, item_bytes: int) -> None:
    if chunk.codec not in thread_codecs():
        raise damaged(
            f"chunk codec {chunk.codec} is unknown: the bytes are damaged or need a newer deltareg"
        )
    whole = chunk.size_bytes % item_bytes == 0
    if not whole or not 0 < chunk.length <= chunk.size_bytes <= CHUNK_ELEMENTS * item_bytes:
        raise damaged(f"a chunk of {chunk.length} bytes for {chunk.size_bytes} cannot be")
