"""Byte planes: the first bytes of all words together, then the second bytes, and so on.

In words of weights or differences the high bytes are skewed and the low ones are noise. Separated,
each plane gets its own Huffman tables and noise is stored as it is. Layout: docs/format.md, Byte
planes.
"""

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from deltareg.codec.chunk_codec import build_integrity_failure
from deltareg.codec.frames import ENTROPY, is_worth_it, open_compressor, open_decompressor, read_frame
from deltareg.codec.scratch import Octets, Scratch, Words, octets

_ZERO: Final = 0
_RAW: Final = 1
_FRAME: Final = 2


class BytePlanes:
    """Writes and reads words as byte planes; one thread uses it at a time."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._compressor = open_compressor(ENTROPY)
        self._decompressor = open_decompressor()

    def pack(self, words: Words) -> bytes:
        """Encode words, which are not modified."""
        used = (int(words.max()).bit_length() + 7) // 8
        bodies = [self._body(words, index) for index in range(used)]
        modes = bytes(mode for mode, _ in bodies) + bytes(words.itemsize - used)
        lengths = (struct.pack("<I", len(body)) for mode, body in bodies if mode == _FRAME)
        return b"".join((modes, *lengths, *(body for _, body in bodies)))

    def unpack_into(self, words: Words, payload: memoryview) -> None:
        """Decode a payload into all of `words`.

        Raises:
            IntegrityFailure: The payload is not exactly `words.size` words.
        """
        bodies = _split(payload, planes=words.itemsize, count=words.size)
        shifted = self._scratch.words("plane", count=words.size, item_bytes=words.itemsize)
        words.fill(0)
        for index in reversed(range(words.itemsize)):
            mode, body = bodies[index]
            if mode == _ZERO:
                continue
            plane = self._plane(mode, body, words.size)
            np.copyto(shifted, plane)
            if index:
                np.left_shift(shifted, 8 * index, out=shifted)
            np.bitwise_or(words, shifted, out=words)

    def _body(self, words: Words, index: int) -> tuple[int, bytes]:
        plane = self._scratch.words("octets", count=words.size, item_bytes=1)
        if index:
            shifted = self._scratch.words("plane", count=words.size, item_bytes=words.itemsize)
            np.right_shift(words, 8 * index, out=shifted)
            np.copyto(plane, shifted, casting="unsafe")
        else:
            np.copyto(plane, words, casting="unsafe")
        frame = self._compressor.compress(octets(plane))
        if is_worth_it(frame, plane.size):
            return _FRAME, frame
        return _RAW, plane.tobytes()

    def _plane(self, mode: int, body: memoryview, count: int) -> Octets:
        if mode == _RAW:
            return np.frombuffer(body, dtype=np.uint8)
        return np.frombuffer(read_frame(self._decompressor, body, size_bytes=count), dtype=np.uint8)


def _split(payload: memoryview, *, planes: int, count: int) -> Sequence[tuple[int, memoryview]]:
    modes = bytes(payload[:planes])
    if len(modes) != planes or max(modes) > _FRAME:
        raise build_integrity_failure("a chunk of byte planes has no valid plane modes")
    table_bytes = 4 * modes.count(_FRAME)
    table = payload[planes : planes + table_bytes]
    if len(table) != table_bytes:
        raise build_integrity_failure("a chunk of byte planes ends in its table")
    frames = iter(struct.unpack(f"<{modes.count(_FRAME)}I", table))
    position = planes + table_bytes
    bodies: list[tuple[int, memoryview]] = []
    for mode in modes:
        length = {_ZERO: 0, _RAW: count}.get(mode)
        length = next(frames) if length is None else length
        bodies.append((mode, payload[position : position + length]))
        position += length
    if position != len(payload):
        raise build_integrity_failure(f"byte planes of {position} bytes in a chunk of {len(payload)}")
    return bodies
