"""Rebuilding the bytes of pieces from a storage map, its packs and the base.

If a piece's reference is itself a stored piece, that is decoded along with it, chunk by chunk and
never as a whole, down to the base or to a piece that stands alone. So memory is a few chunks a
thread.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from deltareg.codec.chunk_codec import CHUNK_ELEMENTS
from deltareg.codec.codecs import thread_codecs
from deltareg.codec.decoder import Fetch, PieceRequest, decode_chunk, decode_pieces
from deltareg.codec.ordered import OrderedPool
from deltareg.codec.sources import ReadRange
from deltareg.digest import Digest
from deltareg.errors import IntegrityFailure, Unavailable
from deltareg.identity.manifest import Piece
from deltareg.identity.storage_map import Chunk, StorageMap
from deltareg.tensors.header import ITEM_BYTES


class PieceRebuilder:
    """Rebuilds the bytes of pieces, one after another."""

    def __init__(
        self, storage: StorageMap, fetch: Fetch, references: Mapping[Digest, ReadRange], pool: OrderedPool
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            storage: Where the pieces are stored.
            fetch: Returns a chunk's encoded bytes.
            references: Tensors whose bytes are available; they take precedence over stored pieces.
            pool: Threads to decode with.
        """
        self._storage, self._fetch = storage, fetch
        self._references, self._pool = references, pool

    def __call__(self, pieces: Iterable[Piece]) -> Iterator[memoryview]:
        """Yield the bytes of pieces in order, each checked at its end.

        Raises:
            IntegrityFailure: A piece is not what was pushed.
            Unavailable: A tensor of the base is needed and not available.
        """
        requests = map(self._request, pieces)
        return decode_pieces(requests, fetch=self._fetch, pool=self._pool)

    def part(self, piece: Piece, begin: int, end: int) -> Iterator[memoryview]:
        """Yield bytes `begin` to `end` (exclusive) of a piece; only the chunks there are decoded.

        Each chunk is checked against its check value, which the encoder made. Only decoding the
        whole piece proves that the bytes are the piece's own.

        Raises:
            IntegrityFailure: A chunk is damaged, or the piece ends before `end`.
            Unavailable: A tensor of the base is needed and not available.
        """
        read_range = self.reader(piece)
        step = CHUNK_ELEMENTS * ITEM_BYTES[piece.dtype]
        for start in range(begin, end, step):
            yield read_range(start, min(start + step, end))

    def reader(self, piece: Piece) -> ReadRange:
        """Return a function that reads any range of a piece, as `part` does; it caches one chunk.

        Raises:
            IntegrityFailure: The storage map has no place for it.
            Unavailable: A tensor of the base is needed and not available.
        """
        self._request(piece)
        read_range = self._read(piece.digest, piece.dtype)
        if read_range is None:
            raise IntegrityFailure(f"the storage map has no place for {piece.digest}")
        return read_range

    def fetch_encoded(self, chunk: Chunk) -> bytes | memoryview:
        """Return the stored bytes of a chunk."""
        return self._fetch(chunk)

    def _request(self, piece: Piece) -> PieceRequest:
        if piece.digest not in self._storage.pieces:
            raise IntegrityFailure(f"the storage map has no place for {piece.digest}")
        chain = self._storage.chain(piece.digest)
        return PieceRequest(chain.piece, piece, self._read(chain.piece.reference, piece.dtype))

    def _read(self, digest: Digest | None, dtype: str) -> ReadRange | None:
        """Return a reader of a reference, which has the dtype of the piece that refers to it."""
        if digest is None:
            return None
        at_hand = self._references.get(digest)
        if at_hand is not None:
            return at_hand
        below_piece = self._storage.find(digest)
        if below_piece is None:
            raise Unavailable(f"the base tensor {digest.short} is needed and not at hand")
        below = self._read(below_piece.reference, dtype)
        return _StoredRange(below_piece.chunks, self._fetch, below, ITEM_BYTES[dtype])


class _StoredRange:
    """Reads ranges of a stored piece that serves as a reference and is never decoded whole.

    The last chunk is cached, for ranges that are shorter than chunks. Several threads may read at
    once.
    """

    def __init__(self, chunks: Sequence[Chunk], fetch: Fetch, below: ReadRange | None, item_bytes: int) -> None:
        self._chunks, self._fetch = chunks, fetch
        self._below, self._item_bytes = below, item_bytes
        self._begins = [0, *accumulate(chunk.size_bytes for chunk in chunks)]
        self._last: tuple[int, memoryview] = (-1, memoryview(b""))

    def __call__(self, begin: int, end: int) -> memoryview:
        if not 0 <= begin <= end <= self._begins[-1]:
            raise IntegrityFailure("a chunk reaches beyond the end of its reference")
        parts: list[memoryview] = []
        number = bisect_right(self._begins, begin) - 1
        while begin < end:
            first, stop = self._begins[number], min(end, self._begins[number + 1])
            parts.append(self._decode_chunk(number)[begin - first : stop - first])
            begin, number = stop, number + 1
        return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))

    def _decode_chunk(self, number: int) -> memoryview:
        cached, data = self._last
        if cached == number:
            return data
        chunk = self._chunks[number]
        begin, end = self._begins[number], self._begins[number + 1]
        reference = None
        if self._below is not None and thread_codecs()[chunk.codec].uses_reference:
            reference = self._below(begin, end)
        data = decode_chunk(self._fetch(chunk), chunk, item_bytes=self._item_bytes, reference=reference).cast("B")
        self._last = (number, data)
        return data
