"""Every codec gives back every bit, and says None when it cannot make a chunk shorter."""

import struct

import numpy as np
import pytest
from hypothesis import given

from deltareg.codec.chunk_codec import (
    BLOCKS,
    CHUNK_ELEMENTS,
    CONTEXTS,
    FLOATS,
    LENGTHS,
    PACKED,
    PCODEC,
    PLANES,
    RAW,
    SUBTRACT,
    ZSTD,
)
from deltareg.codec.codecs import open_codecs, thread_codecs
from deltareg.codec.lengths import MOST_WORDS
from deltareg.errors import BaseMismatch
from deltareg.tensors.header import ITEM_BYTES
from tests.codec.samples import chunks_with_reference, noise, nudged, payload_of, weights

CODECS = open_codecs()
IDS = sorted(CODECS)


def test_the_ids_are_those_of_the_format():
    names = {i: (codec.id, codec.name, codec.uses_reference) for i, codec in CODECS.items()}

    assert names == {
        0: (RAW, "raw", False),
        1: (ZSTD, "zstd", False),
        2: (PLANES, "planes", False),
        3: (PACKED, "packed", True),
        4: (CONTEXTS, "contexts", True),
        5: (SUBTRACT, "subtract", True),
        6: (PCODEC, "pcodec", True),
        8: (BLOCKS, "blocks", True),
        9: (FLOATS, "floats", False),
        10: (LENGTHS, "lengths", True),
    }


@pytest.mark.parametrize("codec_id", IDS)
@given(case=chunks_with_reference())
def test_any_bits_come_back(codec_id, case):
    chunk, reference, item_bytes = case
    codec = CODECS[codec_id]

    payload = codec.encode(chunk, reference, item_bytes=item_bytes)

    if payload is not None:
        assert len(payload) < chunk.nbytes or codec_id == RAW
        back = codec.decode(payload, reference, size_bytes=chunk.nbytes, item_bytes=item_bytes)
        assert back == chunk


@pytest.mark.parametrize("dtype", sorted(ITEM_BYTES))
@pytest.mark.parametrize("codec_id", [PLANES, SUBTRACT])
def test_special_values_come_back_in_every_dtype(codec_id, dtype):
    item_bytes = ITEM_BYTES[dtype]
    edges = [0, 1, 2, (1 << 8 * item_bytes) - 1, 1 << (8 * item_bytes - 1), 0x7F, 0x80]
    words = np.resize(np.array(edges, dtype=f"<u{item_bytes}"), 7 * 400)
    chunk, reference = memoryview(words.tobytes()), memoryview(words[::-1].tobytes())

    payload = payload_of(CODECS[codec_id], chunk, reference, item_bytes=item_bytes)

    back = CODECS[codec_id].decode(payload, reference, size_bytes=chunk.nbytes, item_bytes=item_bytes)
    assert back == chunk


def test_nan_payloads_negative_zero_and_infinity_come_back_against_each_other():
    words = np.array([0x7FC1, 0xFFC1, 0x8000, 0x0000, 0x7F80, 0xFF80, 0x7F81] * 100, "<u2")
    chunk, reference = memoryview(words.tobytes()), memoryview(np.roll(words, 1).tobytes())
    codec = CODECS[SUBTRACT]

    payload = payload_of(codec, chunk, reference)

    assert codec.decode(payload, reference, size_bytes=chunk.nbytes, item_bytes=2) == chunk


@pytest.mark.parametrize("item_bytes", [2, 4, 8])
@pytest.mark.parametrize("codec_id", IDS)
def test_the_largest_chunk_comes_back(codec_id, item_bytes):
    count = MOST_WORDS if codec_id == LENGTHS else CHUNK_ELEMENTS
    reference = memoryview(weights(count, item_bytes))
    half = len(reference) // 2
    chunk = memoryview(nudged(reference[:half], item_bytes) + bytes(reference[half:]))
    codec = CODECS[codec_id]

    payload = payload_of(codec, chunk, reference, item_bytes=item_bytes)

    back = codec.decode(payload, reference, size_bytes=chunk.nbytes, item_bytes=item_bytes)
    assert back == chunk


def test_unaligned_bytes_are_encoded_as_aligned_ones_are():
    data, base = weights(5000, 4), weights(5000, 4, seed=9)
    shifted = memoryview(b"\0" + data)[1:]
    codec = CODECS[SUBTRACT]

    payload = codec.encode(shifted, memoryview(b"\0\0\0" + base)[3:], item_bytes=4)

    assert payload == codec.encode(memoryview(data), memoryview(base), item_bytes=4)


@pytest.mark.parametrize("codec_id", [ZSTD, PLANES, SUBTRACT])
def test_noise_is_given_up(codec_id):
    chunk, reference = memoryview(noise(8000, 1)), memoryview(noise(8000, 2))

    assert CODECS[codec_id].encode(chunk, reference, item_bytes=2) is None


def test_a_chunk_equal_to_its_reference_takes_a_byte_a_plane():
    data = memoryview(weights(CHUNK_ELEMENTS))

    assert CODECS[SUBTRACT].encode(data, data, item_bytes=2) == bytes(2)


def test_the_bytes_of_a_difference_are_those_of_the_format():
    reference = np.zeros(64, "<u2")
    words = np.arange(64, dtype="<u2")

    payload = CODECS[SUBTRACT].encode(memoryview(words.tobytes()), memoryview(reference.tobytes()), item_bytes=2)

    assert payload == bytes([1, 0]) + bytes(2 * d for d in range(64))


def test_the_bytes_of_planes_are_those_of_the_format():
    mantissas = np.arange(128, dtype="<u2")
    words = np.concatenate([0x3F80 | mantissas, 0xBF80 | mantissas])
    codec = CODECS[PLANES]

    payload = payload_of(codec, memoryview(words.tobytes()))

    modes, (length,) = payload[:2], struct.unpack("<I", payload[2:6])
    assert modes == bytes([1, 2])
    assert payload[6:262] == bytes([*range(0, 256, 2), *range(1, 256, 2)])
    assert payload[262:266] == b"\x28\xb5\x2f\xfd"
    assert len(payload) == 262 + length


@pytest.mark.parametrize("reference", [None, memoryview(b"12")])
def test_a_difference_needs_its_reference(reference):
    codec = CODECS[SUBTRACT]

    with pytest.raises(BaseMismatch):
        codec.decode(bytes(2), reference, size_bytes=4, item_bytes=2)


def test_buffers_that_were_used_do_not_change_the_bytes():
    used = open_codecs()
    for seed in range(20):
        for codec in used.values():
            data = memoryview(weights(3000 + 977 * seed, seed=seed))
            codec.encode(data, memoryview(nudged(data, seed=seed)), item_bytes=2)
    data = memoryview(weights(50_000, seed=99))
    reference = memoryview(nudged(data))

    payloads = [used[i].encode(data, reference, item_bytes=2) for i in IDS]

    assert payloads == [open_codecs()[i].encode(data, reference, item_bytes=2) for i in IDS]


def test_what_was_decoded_is_not_touched_by_the_next_chunk():
    first, second = memoryview(weights(9000)), memoryview(weights(9000, seed=5))
    codec = CODECS[PLANES]
    payloads = [payload_of(codec, chunk) for chunk in (first, second)]

    back = [codec.decode(p, None, size_bytes=18_000, item_bytes=2) for p in payloads]

    assert back == [first, second]


def test_a_thread_has_one_set_of_codecs():
    assert thread_codecs() is thread_codecs()
