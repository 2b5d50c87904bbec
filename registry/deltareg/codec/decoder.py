"""Decoding chunks and pieces, with every result checked.

::

    decode_chunk(payload, chunk, item_bytes=2, reference=None) -> memoryview
    with OrderedPool(2) as pool:          # leave the pool out to decode in the calling thread
        for data in decode_pieces(requests, fetch=fetch, pool=pool):
            file.write(data)              # every piece, in order

Everything that comes from a pack or a storage map is untrusted: sizes are checked before anything
is allocated, chunks against their xxh3, whole pieces against their own digest.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import xxhash

from deltareg.codec.chunk_codec import CHUNK_ELEMENTS, build_integrity_failure, same_size
from deltareg.codec.codecs import thread_codecs
from deltareg.codec.ordered import OrderedPool
from deltareg.codec.sources import ReadRange
from deltareg.digest import open_tensor_hasher
from deltareg.identity.manifest import Piece
from deltareg.identity.storage_map import Chunk, StoredPiece
from deltareg.tensors.header import ITEM_BYTES

Fetch = Callable[[Chunk], bytes | memoryview]


def decode_chunk(
    payload: bytes | memoryview, chunk: Chunk, *, item_bytes: int, reference: memoryview | None = None
) -> memoryview:
    """Decode and check one chunk.

    Args:
        payload: The chunk's bytes in its pack.
        chunk: Its entry in the storage map.
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
        raise build_integrity_failure(f"{len(payload)} bytes were fetched for a chunk of {chunk.length}")
    codec = thread_codecs()[chunk.codec]
    data = codec.decode(payload, reference, size_bytes=chunk.size_bytes, item_bytes=item_bytes)
    if xxhash.xxh3_64_intdigest(data) != chunk.check:
        against = " (or its reference is another one)" if codec.uses_reference else ""
        raise build_integrity_failure(f"a chunk of pack {chunk.pack.short} is not what was encoded{against}")
    return data


@dataclass(frozen=True, slots=True)
class PieceRequest:
    """A request to decode a piece.

    Attributes:
        stored: Where it is stored.
        want: Its entry in the manifest.
        read_reference: Reads the piece named by `stored.reference`, if it names one.
    """

    stored: StoredPiece
    want: Piece
    read_reference: ReadRange | None = None


def decode_piece(
    stored: StoredPiece,
    want: Piece,
    *,
    fetch: Fetch,
    read_reference: ReadRange | None = None,
    pool: OrderedPool | None = None,
) -> Iterator[memoryview]:
    """Yield a piece's bytes in order, a chunk at a time; see `decode_pieces`."""
    return decode_pieces([PieceRequest(stored, want, read_reference)], fetch=fetch, pool=pool)


def decode_pieces(
    requests: Iterable[PieceRequest], *, fetch: Fetch, pool: OrderedPool | None = None
) -> Iterator[memoryview]:
    """Yield the bytes of several pieces, one after another, a chunk at a time.

    A piece's digest is known only at its end: bytes must not be used before the iterator has
    ended without an error. Write them to a temporary name, as for any download.

    Args:
        requests: In the order of the bytes, such as the tensors of one file.
        fetch: Returns a chunk's payload; called from the pool's threads, ahead of time.
        pool: Threads to decode with; at most two chunks a worker are in memory.

    Raises:
        IntegrityFailure: A chunk or a whole piece is not what was pushed.
        BaseMismatch: A reference is needed, and it is missing or of another size.
    """
    ranges = (item for request in requests for item in _plan(request))
    run = partial(_decode_range, fetch=fetch)
    hasher = None
    for item, data in map(run, ranges) if pool is None else pool.map(run, ranges):
        want = item.request.want
        if hasher is None:
            hasher = open_tensor_hasher(want.dtype, want.shape)
        hasher.update(data)
        yield data
        if item.end == want.size_bytes:
            if hasher.hexdigest() != want.digest.hex:
                raise build_integrity_failure(f"a {want.dtype} tensor of {item.end} bytes is not {want.digest}")
            hasher = None


@dataclass(frozen=True, slots=True)
class _Range:
    """Bytes of a piece: one chunk, or a stretch of the reference that the piece equals."""

    request: PieceRequest
    chunk: Chunk | None
    begin: int
    end: int

    def reference(self) -> memoryview | None:
        read_reference = self.request.read_reference
        return None if read_reference is None else read_reference(self.begin, self.end).cast("B")


def _decode_range(item: _Range, *, fetch: Fetch) -> tuple[_Range, memoryview]:
    if item.begin == item.end:
        return item, memoryview(b"")
    if item.chunk is None:
        return item, same_size(item.reference(), item.end - item.begin)
    uses_reference = thread_codecs()[item.chunk.codec].uses_reference
    return item, decode_chunk(
        fetch(item.chunk),
        item.chunk,
        item_bytes=ITEM_BYTES[item.request.want.dtype],
        reference=item.reference() if uses_reference else None,
    )


def _plan(request: PieceRequest) -> Iterator[_Range]:
    _check_request(request)
    size = request.want.size_bytes
    if request.stored.is_unchanged or size == 0:
        step = CHUNK_ELEMENTS * ITEM_BYTES[request.want.dtype]
        for begin in range(0, max(size, 1), step):
            yield _Range(request, None, begin, min(begin + step, size))
        return
    begin = 0
    for chunk in request.stored.chunks:
        end = begin + chunk.size_bytes
        yield _Range(request, chunk, begin, end)
        begin = end


def _check_request(request: PieceRequest) -> None:
    stored, want = request.stored, request.want
    for chunk in stored.chunks:
        _check_chunk(chunk, ITEM_BYTES[want.dtype])
        if stored.reference is None and thread_codecs()[chunk.codec].uses_reference:
            raise build_integrity_failure(f"a chunk of {want.digest} needs a reference and none is named")
    size = sum(chunk.size_bytes for chunk in stored.chunks)
    if size != want.size_bytes and not stored.is_unchanged:
        raise build_integrity_failure(f"the chunks of {want.digest} hold {size} bytes, not {want.size_bytes}")


def _check_chunk(chunk: Chunk, item_bytes: int) -> None:
    if chunk.codec not in thread_codecs():
        raise build_integrity_failure(
            f"chunk codec {chunk.codec} is unknown: the bytes are damaged or need a newer deltareg"
        )
    whole = chunk.size_bytes % item_bytes == 0
    if not whole or not 0 < chunk.length <= chunk.size_bytes <= CHUNK_ELEMENTS * item_bytes:
        raise build_integrity_failure(f"a chunk of {chunk.length} bytes for {chunk.size_bytes} cannot be")
