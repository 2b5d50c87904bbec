"""Zigzag differences by class, packed into as few bits as possible: the body of codecs 3 and 4.

Most differences of a fine-tune are 0, 1 or 2 in zigzag. Huffman codes spend at least a bit on a
symbol, so small ones are packed first, four or two to a byte, and the few that do not fit are
stored separately. Layout: docs/format.md, Packed classes.
"""

import struct
from collections.abc import Iterator
from typing import Final

import numpy as np

from deltareg.codec.byte_planes import BytePlanes
from deltareg.codec.chunk_codec import build_integrity_failure
from deltareg.codec.classes import ChunkClasses
from deltareg.codec.frames import ENTROPY, is_worth_it, open_compressor, open_decompressor, read_frame
from deltareg.codec.kernel import ClassTally
from deltareg.codec.kernels import kernel
from deltareg.codec.scratch import Octets, Scratch, Words, octets

_ZERO: Final = 0
_WHOLE: Final = 255
_NARROW: Final = frozenset({2, 4, 8})


class ClassedWords:
    """Encodes and decodes words sorted by class; only one thread at a time may use it."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._planes = BytePlanes(scratch)
        self._compressor = open_compressor(ENTROPY)
        self._decompressor = open_decompressor()

    def pack(self, zigzag: Words, classes: ChunkClasses) -> bytes:
        """Encode words, which are not modified."""
        escapes = self._scratch.words("escapes", count=zigzag.size, item_bytes=zigzag.itemsize)
        widths, bodies, begin, escaped = bytearray(), list[bytes](), 0, 0
        for count in classes.counts:
            own = zigzag[begin : begin + count]
            width = _width(kernel().tally(own), count)
            widths.append(width)
            if width == _WHOLE:
                bodies.append(self._planes.pack(own))
            elif width != _ZERO:
                packed = self._allocate_packed(count, width)
                escaped += kernel().pack(own, width, packed, escapes[escaped:])
                bodies.append(self._body(packed))
            begin += count
        lengths = struct.pack(f"<{len(bodies)}I", *map(len, bodies))
        rest = self._planes.pack(escapes[:escaped]) if escaped else b""
        return b"".join((widths, lengths, *bodies, rest))

    def unpack_into(self, zigzag: Words, classes: ChunkClasses, payload: memoryview) -> None:
        """Decode a payload into all of `zigzag`.

        Raises:
            IntegrityFailure: The payload is not exactly these words.
        """
        widths, bodies, rest = _split(payload, len(classes.counts))
        narrow: list[tuple[Words, int, int]] = []
        begin = escaped = 0
        for count, width in zip(classes.counts, widths, strict=True):
            own = zigzag[begin : begin + count]
            if width == _ZERO:
                own.fill(0)
            elif width == _WHOLE:
                self._planes.unpack_into(own, next(bodies))
            else:
                packed = self._unpack_body(next(bodies), _packed_size(count, width))
                escape_count = kernel().unpack(packed, width, own)
                if escape_count:
                    narrow.append((own, width, escape_count))
                escaped += escape_count
            begin += count
        self._fill(narrow, escaped, rest, zigzag.itemsize)

    def _fill(self, narrow: list[tuple[Words, int, int]], escaped: int, rest: memoryview, item_bytes: int) -> None:
        if not escaped:
            if rest:
                raise build_integrity_failure(f"{len(rest)} bytes follow the classes of a chunk without escapes")
            return
        escapes = self._scratch.words("escapes", count=escaped, item_bytes=item_bytes)
        self._planes.unpack_into(escapes, rest)
        begin = 0
        for own, width, escape_count in narrow:
            kernel().fill(own, (1 << width) - 1, escapes[begin : begin + escape_count])
            begin += escape_count

    def _allocate_packed(self, count: int, width: int) -> Octets:
        size = _packed_size(count, width)
        return self._scratch.words("packed", count=size, item_bytes=1).view(np.uint8)

    def _body(self, packed: Octets) -> bytes:
        frame = self._compressor.compress(octets(packed))
        return frame if is_worth_it(frame, packed.size) else packed.tobytes()

    def _unpack_body(self, body: memoryview, size: int) -> Octets:
        """Return packed numbers; a body of exactly their size is not compressed."""
        if len(body) == size:
            return np.frombuffer(body, dtype=np.uint8)
        return np.frombuffer(read_frame(self._decompressor, body, size_bytes=size), dtype=np.uint8)


def _width(tally: ClassTally, count: int) -> int:
    """Choose a width, with integer arithmetic only: few escapes make a narrow width worthwhile."""
    if tally.largest == 0:
        return _ZERO
    if tally.up_to_2 * 100 >= count * 95:
        return 2
    if tally.up_to_14 * 100 >= count * 93:
        return 4
    return 8 if tally.up_to_254 * 100 >= count * 75 else _WHOLE


def _packed_size(count: int, width: int) -> int:
    each = 8 // width
    return (count + each - 1) // each


def _split(payload: memoryview, count: int) -> tuple[bytes, Iterator[memoryview], memoryview]:
    """Split a payload into widths, the bodies of the classes that have one, and the rest."""
    widths = bytes(payload[:count])
    if len(widths) != count or not _NARROW.union((_ZERO, _WHOLE)).issuperset(widths):
        raise build_integrity_failure("a chunk of classes has no valid widths")
    body_count = sum(width != _ZERO for width in widths)
    table = payload[count : count + 4 * body_count]
    if len(table) != 4 * body_count:
        raise build_integrity_failure("a chunk of classes ends in its table")
    begin, bodies = count + 4 * body_count, list[memoryview]()
    for length in struct.unpack(f"<{body_count}I", table):
        bodies.append(payload[begin : begin + length])
        begin += length
    if begin > len(payload):
        raise build_integrity_failure(f"classes of {begin} bytes in a chunk of {len(payload)}")
    return widths, iter(bodies), payload[begin:]
