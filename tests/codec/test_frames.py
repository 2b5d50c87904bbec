"""A zstd frame is read to its last byte, and nothing may follow it."""

import pytest

from deltareg.codec.frames import ENTROPY, open_compressor, open_decompressor, read_frame
from deltareg.errors import IntegrityFailure

DATA = bytes(range(256)) * 8


def test_a_frame_is_read_and_bytes_after_it_are_refused():
    frame = open_compressor(ENTROPY).compress(DATA)

    assert read_frame(open_decompressor(), frame, size_bytes=len(DATA)) == DATA
    for more in (b"\0", frame):
        with pytest.raises(IntegrityFailure):
            read_frame(open_decompressor(), frame + more, size_bytes=len(DATA))
