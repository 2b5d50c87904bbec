"""Choosing the smallest encoding of a chunk, and the best reference, without trying everything.

With a reference, the first candidate that accepts the chunk is tried at once. If it leaves less
than a third, it is chosen: no codec without a reference achieves that on weights. Otherwise each of
the others encodes a sample (the whole chunk, if that is small). The codec with the smallest sample
is tried first; another is tried only if its sample suggests that it could still win. The choice
depends on the chunk and its reference alone, so encoding stays deterministic. A piece that has
several references to choose from takes the one against which its own sample is smallest.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from deltareg.codec.chunk_codec import PCODEC, RAW, ChunkCodec
from deltareg.codec.sources import PieceSource, ReadRange
from deltareg.tensors.header import ITEM_BYTES

_ENOUGH: Final = 3
_SHORT: Final = 2  # bytes of a word in which the first candidate is as good as pcodec
_STRETCHES: Final = 16
_STRETCH_BYTES: Final = 4 << 10
SAMPLE_BYTES: Final = _STRETCHES * _STRETCH_BYTES
_PIECE_STRETCHES: Final = 64


def encode_smallest(
    codecs: Mapping[int, ChunkCodec],
    candidates: Sequence[int],
    *,
    chunk: memoryview,
    reference: memoryview | None,
    item_bytes: int,
) -> tuple[int, bytes]:
    """Return the codec id and the payload of the shortest encoding found; raw when none is shorter.

    Args:
        codecs: The codecs of this thread.
        candidates: Ids to try; those that need a reference are skipped if there is none.
        chunk: What to encode.
        reference: The same bytes of the reference, if any.
        item_bytes: Bytes of an element.
    """
    usable = [codecs[i] for i in candidates if reference is not None or not codecs[i].uses_reference]
    # Where decay moved every wide word a little, pcodec needs half of what the first one does.
    is_thorough = PCODEC in candidates and item_bytes > _SHORT
    best: tuple[int, bytes | memoryview] = (RAW, chunk)
    while usable and usable[0].uses_reference and best[0] == RAW:
        first = usable.pop(0)
        best = _shorter(best, first, first.encode(chunk, reference, item_bytes=item_bytes))
        if len(best[1]) * _ENOUGH <= chunk.nbytes and not is_thorough:
            return best[0], bytes(best[1])
    if chunk.nbytes <= SAMPLE_BYTES:
        for codec in usable:
            best = _shorter(best, codec, codec.encode(chunk, reference, item_bytes=item_bytes))
        return best[0], bytes(best[1])
    sample = _sample(chunk)
    against = None if reference is None else _sample(reference)
    estimates = [
        (_estimate(codec, sample, against, item_bytes) * chunk.nbytes // SAMPLE_BYTES, codec) for codec in usable
    ]
    for estimate, codec in sorted(estimates, key=lambda pair: pair[0]):
        # A sample errs by a percent: what it puts just behind the best is tried too.
        if estimate * 127 < len(best[1]) * 128:
            best = _shorter(best, codec, codec.encode(chunk, reference, item_bytes=item_bytes))
    return best[0], bytes(best[1])


def choose_reference(codecs: Mapping[int, ChunkCodec], candidates: Sequence[int], source: PieceSource) -> PieceSource:
    """Return the source with only the reference that encodes it best.

    A piece that equals its own reference keeps it. Among equally good references the first one
    wins, which is the base's.

    Args:
        codecs: The codecs of this thread.
        candidates: Ids to try.
        source: A piece with all of its references.
    """
    references = source.candidates
    if source.is_unchanged or not source.others or not references:
        return source
    if len(references) == 1 or source.piece.size_bytes == 0:
        return source.against(references[0])
    return source.against(min(references, key=lambda one: estimate_size(codecs, candidates, source, one.read)))


def estimate_size(
    codecs: Mapping[int, ChunkCodec], candidates: Sequence[int], source: PieceSource, read: ReadRange | None
) -> int:
    """Return the encoded size of a piece's sample against a reference, or against none.

    Args:
        codecs: The codecs of this thread.
        candidates: Ids to try.
        source: The piece.
        read: Reads the reference.
    """
    size, item_bytes = source.piece.size_bytes, ITEM_BYTES[source.piece.dtype]
    against = None if read is None else _stretches(read, size)
    sample = _stretches(source.read, size)
    return len(encode_smallest(codecs, candidates, chunk=sample, reference=against, item_bytes=item_bytes)[1])


def _stretches(read: ReadRange, size_bytes: int) -> memoryview:
    """Read a sample of a piece, spread over all of it."""
    if size_bytes <= _PIECE_STRETCHES * _STRETCH_BYTES:
        return memoryview(bytes(read(0, size_bytes)))
    last = (size_bytes - _STRETCH_BYTES) // _STRETCH_BYTES
    begins = (i * last // (_PIECE_STRETCHES - 1) * _STRETCH_BYTES for i in range(_PIECE_STRETCHES))
    return memoryview(b"".join(read(begin, begin + _STRETCH_BYTES) for begin in begins))


def _shorter(
    best: tuple[int, bytes | memoryview], codec: ChunkCodec, payload: bytes | None
) -> tuple[int, bytes | memoryview]:
    return best if payload is None or len(payload) >= len(best[1]) else (codec.id, payload)


def _sample(data: memoryview) -> memoryview:
    # Multiples of 4 KiB keep every element whole.
    step = (data.nbytes - _STRETCH_BYTES) // (_STRETCHES - 1) // _STRETCH_BYTES * _STRETCH_BYTES
    stretches = (data[i * step : i * step + _STRETCH_BYTES] for i in range(_STRETCHES))
    return memoryview(b"".join(stretches))


def _estimate(codec: ChunkCodec, sample: memoryview, against: memoryview | None, item_bytes: int) -> int:
    if codec.id == PCODEC:  # it learns far more from a whole chunk than from a sample
        return 0
    payload = codec.encode(sample, against, item_bytes=item_bytes)
    return SAMPLE_BYTES if payload is None else len(payload)
