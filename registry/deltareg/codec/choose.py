"""Picking the smallest encoding of a chunk without trying every codec on all of it.

Each candidate first encodes a sample (the whole chunk, when that is small). The one with the
smallest sample goes first; another is tried only when its sample says that it could still win. The
choice depends on the chunk and its reference alone, so encoding stays deterministic.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from deltareg.codec.chunk_codec import RAW, ChunkCodec

_STRETCHES: Final = 16
_STRETCH_BYTES: Final = 4 << 10
SAMPLE_BYTES: Final = _STRETCHES * _STRETCH_BYTES


def encode_smallest(
    codecs: Mapping[int, ChunkCodec],
    candidates: Sequence[int],
    *,
    chunk: memoryview,
    reference: memoryview | None,
    item_bytes: int,
) -> tuple[int, bytes]:
    """Give the codec id and the payload of the shortest encoding found; raw when none is shorter.

    Args:
        codecs: The codecs of this thread.
        candidates: Ids to try; those that need a reference are passed over when there is none.
        chunk: What to encode.
        reference: The same bytes of the reference, if any.
        item_bytes: Bytes of an element.
    """
    usable = [
        codecs[i] for i in candidates if reference is not None or not codecs[i].uses_reference
    ]
    if chunk.nbytes <= SAMPLE_BYTES:
        return _encode_all(usable, chunk, reference, item_bytes)
    sample = _sample(chunk)
    against = None if reference is None else _sample(reference)
    estimates = [
        (_estimate(codec, sample, against, item_bytes) * chunk.nbytes // SAMPLE_BYTES, codec)
        for codec in usable
    ]
    best: tuple[int, bytes | memoryview] = (RAW, chunk)
    for estimate, codec in sorted(estimates, key=lambda pair: pair[0]):
        # A sample errs by a few percent: what it puts just behind the best is tried too.
        if estimate * 31 < len(best[1]) * 32:
            payload = codec.encode(chunk, reference, item_bytes=item_bytes)
            if payload is not None and len(payload) < len(best[1]):
                best = (codec.id, payload)
    return best[0], bytes(best[1])


def _encode_all(
    usable: Sequence[ChunkCodec],
    chunk: memoryview,
    reference: memoryview | None,
    item_bytes: int,
) -> tuple[int, bytes]:
    best = (RAW, bytes(chunk))
    for codec in usable:
        payload = codec.encode(chunk, reference, item_bytes=item_bytes)
        if payload is not None and len(payload) < len(best[1]):
            best = (codec.id, payload)
    return best


def _sample(data: memoryview) -> memoryview:
    # Multiples of 4 KiB keep every element whole.
    step = (data.nbytes - _STRETCH_BYTES) // (_STRETCHES - 1) // _STRETCH_BYTES * _STRETCH_BYTES
    stretches = (data[i * step : i * step + _STRETCH_BYTES] for i in range(_STRETCHES))
    return memoryview(b"".join(stretches))


def _estimate(
    codec: ChunkCodec, sample: memoryview, against: memoryview | None, item_bytes: int
) -> int:
    payload = codec.encode(sample, against, item_bytes=item_bytes)
    return SAMPLE_BYTES if payload is None else len(payload)
