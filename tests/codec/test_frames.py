"""A zstd frame is read to its last byte, and nothing may follow it."""

import pytest

from deltareg.codec.frames import ENTROPY, MAGIC, open_compressor, open_decompressor, read_frame
from deltareg.errors import IntegrityFailure

DATA = bytes(range(256)) * 8


def test_a_frame_is_read_and_bytes_after_it_are_refused():
    frame = open_compressor(ENTROPY).compress(DATA)

    assert read_frame(open_decompressor(), frame, size_bytes=len(DATA)) == DATA
    for more in (b"\0", frame):
        with pytest.raises(IntegrityFailure):
            read_frame(open_decompressor(), frame + more, size_bytes=len(DATA))


@pytest.mark.parametrize(("exponent", "is_read"), [(13, True), (14, False), (31, False)])
def test_a_frame_may_not_ask_for_more_memory_than_ours_do(exponent, is_read):
    frame = raw_frame(DATA, window_exponent=exponent)

    if is_read:
        assert read_frame(open_decompressor(), frame, size_bytes=len(DATA)) == DATA
    else:
        with pytest.raises(IntegrityFailure):
            read_frame(open_decompressor(), frame, size_bytes=len(DATA))


def raw_frame(data, *, window_exponent):
    """Write a frame of one stored block that asks for a window of 2 ** (10 + exponent) bytes.

    RFC 8878, sections 3.1.1.1 and 3.1.1.2: a size of two bytes is kept less 256.
    """
    descriptor, window = bytes([0b01_0_0_0_0_00]), bytes([window_exponent << 3])
    size, block = len(data) - 256, 1 | len(data) << 3
    return MAGIC + descriptor + window + size.to_bytes(2, "little") + block.to_bytes(3, "little") + data
