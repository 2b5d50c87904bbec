"""Shards: how Xet clients describe which chunks of which xorbs make up a file.

A shard is records of 48 bytes, little endian: a header (tag of 32 bytes, version 2, length of the
footer), then for each file a record (hash, flags, number of terms), its terms (xorb, flags, bytes,
first chunk, chunk behind the last), as many records for verification where a flag says so, and the
file's sha256 where another does; then a mark of 32 bytes of 255. The rest describes the xorbs and
is ignored, since they describe themselves. The format is published at huggingface.co/docs/xet.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from deltareg.errors import InvalidInput
from deltareg.service.hub.committing import MOST_FILES
from deltareg.service.hub.xorbs import CHUNK_BYTES, MOST_CHUNKS

SHARD_BYTES: Final = 64 << 20
MOST_TERMS: Final = 1 << 16
_RECORD = 48
_HASH = 32
_TAG: Final = b"HFRepoMetaData\0"
_VERSION = 2
_HEADER = struct.Struct("<32sQQ")
_FILE = struct.Struct("<32sII8x")
_TERM = struct.Struct("<32sIIII")
_MARK = b"\xff" * _HASH
_HAS_VERIFICATION, _HAS_SHA256 = 1 << 31, 1 << 30


@dataclass(frozen=True, slots=True)
class ShardTerm:
    """A part of a file: chunks `begin` to `end` (exclusive) of a xorb, and their unpacked length."""

    xorb: str
    begin: int
    end: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file as a shard describes it: its claimed sha256, and its terms in order."""

    sha256: str
    terms: tuple[ShardTerm, ...]

    @property
    def size_bytes(self) -> int:
        """The length of the file, by its terms."""
        return sum(term.size_bytes for term in self.terms)


def read_shard(body: BinaryIO) -> list[ShardFile]:
    """Read the files that a shard describes.

    Raises:
        InvalidInput: The body is no shard, describes too much, or lacks the sha256 of a file.
    """
    tag, version, _footer = _HEADER.unpack(_take(body, _HEADER.size))
    if not tag.startswith(_TAG) or version != _VERSION:
        raise _make_error(f"it does not begin as a shard of version {_VERSION} does")
    files: list[ShardFile] = []
    names: dict[bytes, str] = {}
    terms = 0
    while (record := _take(body, _RECORD))[:_HASH] != _MARK:
        file = _file(body, record, names, room=MOST_TERMS - terms)
        terms += len(file.terms)
        files.append(file)
        if len(files) > MOST_FILES:
            raise _make_error(f"it describes more than {MOST_FILES} files")
    return files


def hex_of(raw: bytes) -> str:
    """Format a hash as addresses contain it: each eight bytes are a little-endian number."""
    return b"".join(raw[at : at + 8][::-1] for at in range(0, _HASH, 8)).hex()


def _file(body: BinaryIO, record: bytes, names: dict[bytes, str], *, room: int) -> ShardFile:
    _, flags, count = _FILE.unpack(record)
    if count > room:
        raise _make_error(f"it puts files together of more than {MOST_TERMS} parts")
    terms = tuple(_terms(body, count, names))
    if flags & _HAS_VERIFICATION:
        for _ in range(count):
            _take(body, _RECORD)
    if not flags & _HAS_SHA256:
        raise _make_error("it says of a file no sha256, which commits name it by")
    return ShardFile(hex_of(_take(body, _RECORD)[:_HASH]), terms)


def _terms(body: BinaryIO, count: int, names: dict[bytes, str]) -> Iterator[ShardTerm]:
    """Read terms; the name of each xorb is stored once, however many terms use it."""
    for _ in range(count):
        xorb, _flags, size, begin, end = _TERM.unpack(_take(body, _RECORD))
        if not begin < end <= MOST_CHUNKS or not 0 < size <= (end - begin) * CHUNK_BYTES:
            raise _make_error(f"chunks {begin} to {end} cannot be {size} bytes")
        yield ShardTerm(names.get(xorb) or names.setdefault(xorb, hex_of(xorb)), begin, end, size)


def _take(body: BinaryIO, size_bytes: int) -> bytes:
    raw = body.read(size_bytes)
    if len(raw) != size_bytes:
        raise _make_error("it is cut off")
    return raw


def _make_error(why: str) -> InvalidInput:
    return InvalidInput(f"the shard cannot be read: {why}", fix="push again")
