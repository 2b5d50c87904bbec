"""Payloads of blocks and of floats that no encoder makes are refused."""

import pytest

from deltareg.codec import decode_chunk
from deltareg.codec.chunk_codec import BLOCKS, FLOATS
from deltareg.errors import IntegrityFailure
from tests.codec.samples import chunk_of, sound_chunk, weights, zstd_frame
from tests.codec.test_hostile_chunks import FRAMES, SIZE, classed

BLOCK_COUNT = SIZE // 64  # blocks of SIZE words; their map is one bit each
MAP = zstd_frame(bytes(BLOCK_COUNT // 8))
MARKED = zstd_frame(b"\1" + bytes(BLOCK_COUNT // 8 - 1))


def mapped(frame, body=b"", length=None):
    """Lay out a payload of blocks."""
    return (len(frame) if length is None else length).to_bytes(2, "little") + frame + body


BLOCK_PAYLOADS = {
    "end in their head": b"\x05",
    "end in their map": mapped(MAP[:-2], length=len(MAP)),
    "claim a longer map": mapped(MAP, length=60_000),
    "have a map of another size": mapped(zstd_frame(bytes(9))),
    "have no map": mapped(b""),
    "mark nothing and go on": mapped(MAP, b"\0"),
    "mark a block and bring none": mapped(MARKED),
    "are followed by bytes": mapped(MARKED, classed([0], [], b"\0")),
    **{f"have a map that {name}": mapped(frame) for name, frame in FRAMES.items()},
}


@pytest.mark.parametrize("name", BLOCK_PAYLOADS)
def test_blocks_are_refused_that(name):
    payload = BLOCK_PAYLOADS[name]
    reference = memoryview(bytes(2 * SIZE))

    with pytest.raises(IntegrityFailure):
        decode_chunk(payload, chunk_of(payload, BLOCKS, 2 * SIZE), item_bytes=2, reference=reference)


def test_a_map_that_marks_a_block_past_the_last_is_refused():
    payload = mapped(zstd_frame(b"\x02"))
    reference = memoryview(bytes(2 * 70))

    with pytest.raises(IntegrityFailure, match="not there"):
        decode_chunk(payload, chunk_of(payload, BLOCKS, 2 * 70), item_bytes=2, reference=reference)


def test_blocks_without_a_mark_are_the_reference():
    payload = mapped(MAP)
    data = weights(SIZE)

    found = decode_chunk(payload, sound_chunk(payload, BLOCKS, data), item_bytes=2, reference=memoryview(data))

    assert found == data


COUNT = 512  # words; below each are five bits
SYMBOLS = zstd_frame(bytes(COUNT))
LOWS = COUNT // 2 + COUNT // 8
ONE_RARE = zstd_frame(b"\x60" + bytes(COUNT - 1))


def floats(frame, rest=b"", lows=LOWS, length=None):
    """Lay out a payload of floats."""
    length = len(frame) if length is None else length
    return b"\x7c" + length.to_bytes(4, "little") + frame + bytes(lows) + rest


FLOAT_PAYLOADS = {
    "end in their head": b"\x7c\0\0\0",
    "claim more than there is": floats(SYMBOLS, length=(1 << 32) - 1),
    "lack low bits": floats(SYMBOLS, lows=LOWS - 1),
    "are followed by escapes that none asked for": floats(SYMBOLS, bytes([1, 0]) + b"\x95"),
    "lack an escape": floats(ONE_RARE),
    "bring an escape too many": floats(ONE_RARE, bytes([1, 0]) + b"\x95\x95"),
    **{f"hold a frame that {name}": floats(frame) for name, frame in FRAMES.items()},
}


@pytest.mark.parametrize("name", FLOAT_PAYLOADS)
def test_floats_are_refused_that(name):
    payload = FLOAT_PAYLOADS[name]

    with pytest.raises(IntegrityFailure):
        decode_chunk(payload, chunk_of(payload, FLOATS, 2 * COUNT), item_bytes=2)


def test_the_bits_of_floats_are_those_of_the_format():
    top, lower = 0x7CFF >> 1 | 0x8000, (0x7CFF - 0xCA0) >> 1 | 0x8000
    words = [top, lower, *[top] * (COUNT - 2)]
    payload = floats(zstd_frame(b"\0\x60" + bytes(COUNT - 2)), bytes([1, 0]) + b"\x65")
    data = b"".join(word.to_bytes(2, "little") for word in words)

    assert decode_chunk(payload, sound_chunk(payload, FLOATS, data), item_bytes=2) == data
