"""Xorbs: the chunks of files that Xet clients send, one after another, each packed by itself.

A chunk is a header of eight bytes (version 0; packed length, 3 bytes; scheme; length, 3 bytes; all
little endian) and its packed bytes. After the last there may be a footer, which adds nothing to the
headers. The format is published at huggingface.co/docs/xet. Nothing in a xorb is trusted: each
length is bounded before anything is read or unpacked by it.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

import lz4.frame

from deltareg.errors import InvalidInput

XORB_BYTES: Final = 64 << 20
CHUNK_BYTES: Final = 128 << 10
MOST_CHUNKS: Final = 8_192
HEADER_BYTES: Final = 8
_PACKED_BYTES = 2 * CHUNK_BYTES  # what is packed is hardly ever longer than what it is of
_FOOTER = b"XETBLOB"
_RAW, _LZ4, _GROUPED_LZ4 = range(3)
_GROUPS = 4

ReadAt = Callable[[int, int], bytes]
"""Gives so many bytes from an offset on; fewer at the end."""


@dataclass(frozen=True, slots=True)
class XorbChunk:
    """The header of a chunk: its packed length, how it is packed, and its length."""

    packed_bytes: int
    scheme: int
    size_bytes: int


def find_chunks(read_at: ReadAt, size_bytes: int) -> Sequence[int]:
    """Find where the chunks of a xorb begin; the last offset is where they end.

    Raises:
        InvalidInput: The bytes are no xorb.
    """
    offsets = array("I", [0])
    at = 0
    while at < size_bytes:
        raw = read_at(at, HEADER_BYTES)
        if raw.startswith(_FOOTER):
            break
        at += HEADER_BYTES + read_header(raw).packed_bytes
        if at > size_bytes:
            raise _make_error("a chunk goes on behind its end")
        offsets.append(at)
        if len(offsets) > MOST_CHUNKS + 1:
            raise _make_error(f"it has more than {MOST_CHUNKS} chunks")
    return offsets


def read_header(raw: bytes) -> XorbChunk:
    """Read the header of a chunk.

    Raises:
        InvalidInput: It is no header, or its lengths are out of bounds.
    """
    if len(raw) < HEADER_BYTES or raw[0] != 0:
        raise _make_error("the header of a chunk is none of version 0")
    packed, size = int.from_bytes(raw[1:4], "little"), int.from_bytes(raw[5:8], "little")
    if not 0 < size <= CHUNK_BYTES or not 0 < packed <= _PACKED_BYTES:
        raise _make_error(f"a chunk has {packed} bytes for {size}, at most are {CHUNK_BYTES}")
    if raw[4] > _GROUPED_LZ4:
        raise _make_error(f"a chunk is packed by scheme {raw[4]}, which is not known here")
    return XorbChunk(packed, raw[4], size)


def unpack(raw: bytes) -> bytes:
    """Unpack a chunk including its header, to no more bytes than the header says.

    Raises:
        InvalidInput: The chunk holds something else.
    """
    chunk = read_header(raw[:HEADER_BYTES])
    packed = raw[HEADER_BYTES:]
    plain = packed if chunk.scheme == _RAW else _unpack_frame(packed, chunk.size_bytes)
    if len(plain) != chunk.size_bytes:
        raise _make_error(f"a chunk has {len(plain)} bytes and not {chunk.size_bytes}")
    return _ungroup(plain) if chunk.scheme == _GROUPED_LZ4 else plain


class _Frame(Protocol):
    """The used part of the library's decompressor, which has no type hints."""

    eof: bool
    unused_data: bytes | None

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _unpack_frame(packed: bytes, size_bytes: int) -> bytes:
    frame = cast("_Frame", lz4.frame.LZ4FrameDecompressor())
    try:
        plain = frame.decompress(packed, max_length=size_bytes + 1)
        # A frame whose last bytes are a mark and a checksum may want to be asked once more.
        if not frame.eof and len(plain) <= size_bytes:
            plain += frame.decompress(b"", max_length=size_bytes + 1 - len(plain))
    except (RuntimeError, ValueError, EOFError, MemoryError) as error:
        raise _make_error("a chunk is no LZ4 frame") from error
    if not frame.eof or frame.unused_data:
        raise _make_error("a chunk is no whole LZ4 frame, or more than one")
    return bytes(plain)


def _ungroup(grouped: bytes) -> bytes:
    """Restore the order of bytes that were grouped by their position within each four."""
    plain, at = bytearray(len(grouped)), 0
    for place in range(_GROUPS):
        length = len(range(place, len(grouped), _GROUPS))
        plain[place::_GROUPS] = grouped[at : at + length]
        at += length
    return bytes(plain)


def _make_error(why: str) -> InvalidInput:
    return InvalidInput(f"a xorb cannot be read: {why}", fix="push again")
