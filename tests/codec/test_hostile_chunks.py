"""Payloads that no encoder makes are refused, before memory is spent on them."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.codec import MAX_CHUNK_BYTES, decode_chunk
from deltareg.codec.chunk_codec import BLOCKS, CONTEXTS, FLOATS, PACKED, PLANES, RAW, SUBTRACT, ZSTD
from deltareg.codec.codecs import thread_codecs
from deltareg.errors import BaseMismatch, IntegrityFailure
from tests.codec.samples import chunk_of, forged_frame, payload_of, sound_chunk, weights, zstd_frame

SIZE = 4096
DATA = bytes(range(64)) * 64
FRAME = zstd_frame(DATA)
MIB = 1 << 20

FRAMES = {
    "claims 256 MiB": forged_frame(256 * MIB, [(128 << 10, 7)] * 2048),
    "claims 1 TiB": forged_frame(1 << 40, [(128 << 10, 7)] * 2),
    "claims the size and holds 256 MiB": forged_frame(SIZE, [(128 << 10, 7)] * 2048),
    "claims the size and holds less": forged_frame(SIZE, [(100, 7)]),
    "claims no size": forged_frame(None, [(SIZE, 7)], window_log=20),
    "asks for a window of 2 GiB": forged_frame(SIZE, [(SIZE, 7)], window_log=31),
    "asks for a window of 16 MiB": forged_frame(SIZE, [(SIZE, 7)], window_log=24),
    "asks for a dictionary": forged_frame(SIZE, [(SIZE, 7)], dictionary=77),
    "has no block": forged_frame(SIZE),
    "is cut": FRAME[:-3],
    "is cut in its header": FRAME[:6],
    "is followed by a frame": FRAME + FRAME,
    "is followed by a byte": FRAME + b"\0",
    "follows a skippable frame": b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + FRAME,
    "is a skippable frame of that size": b"\x50\x2a\x4d\x18\0\x10\0\0" + DATA[:99],
    "is noise": b"\x28\xb5\x2f\xfd" + bytes(range(200, 250)),
    "is no frame": b"hello, world",
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_is_refused_that(name):
    payload = FRAMES[name]
    chunk = chunk_of(payload, ZSTD, max(SIZE, len(payload)))

    with pytest.raises(IntegrityFailure) as caught:
        decode_chunk(payload, chunk, item_bytes=1)

    assert caught.value.fix


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("codec", [PLANES, SUBTRACT])
def test_a_plane_is_refused_whose_frame(name, codec):
    frame = FRAMES[name]
    payload = bytes([0, 2]) + len(frame).to_bytes(4, "little") + frame
    size = max(2 * SIZE, len(payload) + len(payload) % 2)

    with pytest.raises(IntegrityFailure):
        decode_chunk(payload, chunk_of(payload, codec, size), item_bytes=2, reference=memoryview(bytes(size)))


def test_a_sound_frame_passes():
    assert decode_chunk(FRAME, sound_chunk(FRAME, ZSTD, DATA), item_bytes=1) == DATA


PLANE_PAYLOADS = {
    "have an unknown mode": bytes([3, 0]),
    "lack a mode": bytes([0]),
    "end in their table": bytes([2, 2]) + b"\x10\0\0\0",
    "end in a raw plane": bytes([1, 0]) + bytes(SIZE - 1),
    "are followed by a byte": bytes([1, 0]) + bytes(SIZE + 1),
    "have a length past the end": bytes([2, 0]) + b"\xff\xff\xff\xff" + FRAME,
    "are zero and more": bytes([0, 0, 0]),
}


@pytest.mark.parametrize("name", PLANE_PAYLOADS)
@pytest.mark.parametrize("codec", [PLANES, SUBTRACT])
def test_planes_are_refused_that(name, codec):
    payload = PLANE_PAYLOADS[name]
    reference = memoryview(bytes(2 * SIZE))

    with pytest.raises(IntegrityFailure):
        decode_chunk(payload, chunk_of(payload, codec, 2 * SIZE), item_bytes=2, reference=reference)


def classed(widths, lengths, rest):
    """Lay out a payload of packed classes."""
    return bytes(widths) + b"".join(n.to_bytes(4, "little") for n in lengths) + rest


ONE_ESCAPE = b"\x03" + bytes(SIZE // 4 - 1)  # SIZE words of two bits; the first is an escape
CLASSED_PAYLOADS = {
    "have no width": b"",
    "have an unknown width": classed([3], [SIZE // 4], bytes(SIZE // 4)),
    "end in their table": classed([2], [], b"\1\0"),
    "claim more than there is": classed([2], [SIZE // 4], bytes(SIZE // 4 - 1)),
    "claim 4 GiB": classed([2], [(1 << 32) - 1], bytes(SIZE // 4)),
    "hold fewer numbers": classed([2], [SIZE // 4 - 1], bytes(SIZE // 4 - 1)),
    "hold more numbers": classed([2], [SIZE // 4 + 1], bytes(SIZE // 4 + 1)),
    "are followed by bytes": classed([0], [], b"\0"),
    "are followed by escapes that none asked for": classed([2], [SIZE // 4], bytes(SIZE // 4) + bytes([1, 0]) + b"\7"),
    "lack an escape": classed([2], [SIZE // 4], ONE_ESCAPE),
    "bring an escape too many": classed([2], [SIZE // 4], ONE_ESCAPE + bytes([1, 0]) + b"\7\7"),
    "bring half an escape": classed([2], [SIZE // 4], ONE_ESCAPE + bytes([1, 1]) + b"\7"),
    "are whole and cut": classed([255], [2 + SIZE - 1], bytes([1, 0]) + bytes(SIZE - 1)),
    **{
        f"hold a frame that {name}": classed([2], [len(frame)], frame)
        for name, frame in FRAMES.items()
        if name != "claims the size and holds less"
    },
}


@pytest.mark.parametrize("name", CLASSED_PAYLOADS)
@pytest.mark.parametrize("codec", [PACKED, CONTEXTS])
def test_classes_are_refused_that(name, codec):
    payload = CLASSED_PAYLOADS[name]
    reference = memoryview(bytes(2 * SIZE))

    with pytest.raises(IntegrityFailure):
        decode_chunk(payload, chunk_of(payload, codec, 2 * SIZE), item_bytes=2, reference=reference)


@pytest.mark.parametrize("codec", [PACKED, CONTEXTS])
def test_an_escape_comes_back(codec):
    payload = classed([2], [SIZE // 4], ONE_ESCAPE + bytes([1, 0]) + b"\x08")
    data = (4).to_bytes(2, "little") + bytes(2 * SIZE - 2)
    reference = memoryview(bytes(2 * SIZE))

    found = decode_chunk(payload, sound_chunk(payload, codec, data), item_bytes=2, reference=reference)

    assert found == data


@pytest.mark.parametrize("codec", [PACKED, CONTEXTS, BLOCKS, FLOATS])
def test_single_bytes_are_never_words(codec):
    with pytest.raises(IntegrityFailure, match="single bytes"):
        decode_chunk(b"\0", chunk_of(b"\0", codec, SIZE), item_bytes=1, reference=memoryview(bytes(SIZE)))


@pytest.mark.parametrize(
    ("size_bytes", "item_bytes"),
    [(MAX_CHUNK_BYTES + 8, 8), (2 * MIB + 2, 2), (MIB + 1, 1), (1 << 40, 8), (7, 2), (1, 1)],
)
def test_a_chunk_of_an_impossible_size_is_refused(size_bytes, item_bytes):
    with pytest.raises(IntegrityFailure):
        decode_chunk(b"\0\0", chunk_of(b"\0\0", PLANES, size_bytes), item_bytes=item_bytes)


@pytest.mark.parametrize("codec", [7, 11, 255, 1 << 30])
def test_a_codec_that_is_not_known_is_refused(codec):
    with pytest.raises(IntegrityFailure, match="newer deltareg"):
        decode_chunk(DATA, chunk_of(DATA, codec, SIZE), item_bytes=1)


def test_an_empty_payload_is_refused():
    with pytest.raises(IntegrityFailure):
        decode_chunk(b"", chunk_of(b"", RAW, SIZE), item_bytes=1)


def test_a_payload_of_another_length_than_the_map_says_is_refused():
    with pytest.raises(IntegrityFailure, match="were fetched"):
        decode_chunk(DATA[:-1], chunk_of(DATA, RAW, SIZE), item_bytes=1)


def test_a_flipped_bit_is_found():
    damaged = bytes([DATA[0] ^ 1]) + DATA[1:]

    with pytest.raises(IntegrityFailure, match="not what was encoded"):
        decode_chunk(damaged, sound_chunk(DATA, RAW, DATA), item_bytes=1)


def test_another_reference_is_found():
    payload = bytes(2)
    data = weights(SIZE // 2)
    chunk = sound_chunk(payload, SUBTRACT, data)

    with pytest.raises(IntegrityFailure, match="reference is another one"):
        decode_chunk(payload, chunk, item_bytes=2, reference=memoryview(bytes(SIZE)))


def test_a_missing_reference_is_named():
    with pytest.raises(BaseMismatch, match="none is at hand"):
        decode_chunk(bytes(2), chunk_of(bytes(2), SUBTRACT, SIZE), item_bytes=2)


@given(
    payload=st.binary(max_size=300),
    codec=st.sampled_from([RAW, ZSTD, PLANES, PACKED, CONTEXTS, SUBTRACT, BLOCKS, FLOATS]),
    item_bytes=st.sampled_from([1, 2, 4, 8]),
    prefix=st.sampled_from([b"", b"\x28\xb5\x2f\xfd", bytes([2, 0]), bytes([1, 2])]),
)
def test_any_bytes_end_in_a_refusal(payload, codec, item_bytes, prefix):
    payload = prefix + payload
    chunk = chunk_of(payload, codec, 8 * 64, check=1)

    with pytest.raises(IntegrityFailure):
        decode_chunk(payload, chunk, item_bytes=item_bytes, reference=memoryview(bytes(8 * 64)))


@pytest.mark.parametrize("codec", [ZSTD, PLANES, PACKED, CONTEXTS, SUBTRACT, FLOATS])
@given(cut=st.integers(0, 10_000), flip=st.integers(0, 7))
def test_a_damaged_payload_never_decodes_to_other_bytes(codec, cut, flip):
    data, reference = memoryview(weights(3000)), memoryview(weights(3000, seed=3))
    payload = payload_of(thread_codecs()[codec], data, reference)
    at = cut % len(payload)
    damaged = payload[:at] + bytes([payload[at] ^ (1 << flip)]) + payload[at + 1 :]
    chunk = sound_chunk(payload, codec, data)

    try:
        back = decode_chunk(damaged, chunk, item_bytes=2, reference=reference)
    except IntegrityFailure:
        back = data

    assert back == data


BOMBS = """
import resource
from deltareg.codec import decode_chunk
from deltareg.errors import IntegrityFailure
from tests.codec.samples import chunk_of, forged_frame

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

frames = [
    forged_frame(256 << 20, [(128 << 10, 7)] * 2048),
    forged_frame(1 << 40, [(128 << 10, 7)] * 2048),
    forged_frame(8 << 10, [(128 << 10, 7)] * 2048),
    forged_frame(None, [(128 << 10, 7)] * 2048, window_log=31),
]
before = peak_mib()
for frame in frames:
    planes = bytes([2]) + len(frame).to_bytes(4, "little") + frame
    for payload, codec, size in ((frame, 1, 1 << 20), (planes, 2, 1 << 20), (frame, 1, 1 << 40)):
        try:
            decode_chunk(payload, chunk_of(payload, codec, size), item_bytes=1)
        except IntegrityFailure:
            continue
        raise SystemExit("a bomb was decoded")
print(peak_mib() - before)
"""


def test_bombs_of_8_kib_take_no_memory():
    found = subprocess.run(
        [sys.executable, "-c", BOMBS], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )

    assert int(found.stdout) <= 8
