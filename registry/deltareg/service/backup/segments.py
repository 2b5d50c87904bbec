"""Rows of a table as segments: lines of JSON in a zstd frame, each named by the sha256 of its lines.

A segment ends behind a row whose own text says so, and not after so many rows. So a row that is added or
changed changes one segment, wherever it lies, and the next backup sends that one
(content-defined chunks, Muthitacharoen, Chen and Mazieres 2001).
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import zstandard

from deltareg.db.upkeep.table_rows import Value
from deltareg.documents.json_values import is_list, is_object, parse_json
from deltareg.errors import IntegrityFailure

_ENDS = 0xFFF  # a row in 4,096 ends a segment
_MOST_BYTES = 8 << 20
_LARGEST = 512 << 20


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a table.

    Attributes:
        digest: The sha256 of the lines, in hex.
        frame: The lines, compressed.
        rows: How many there are.
    """

    digest: str
    frame: bytes
    rows: int


def cut_segments(rows: Iterable[Sequence[Value]]) -> Iterator[Segment]:
    """Cut rows into segments; one is in memory at a time."""
    lines: list[bytes] = []
    size = 0
    for row in rows:
        line = json.dumps([_write(value) for value in row], ensure_ascii=False, separators=(",", ":")).encode()
        lines.append(line)
        size += len(line)
        if crc32(line) & _ENDS == 0 or size >= _MOST_BYTES:
            yield _segment(lines)
            lines, size = [], 0
    if lines:
        yield _segment(lines)


def read_segment(frame: bytes, digest: str) -> list[list[Value]]:
    """Return the rows of a segment.

    Raises:
        IntegrityFailure: It is not the one with that digest.
    """
    try:
        if (
            not 0 <= zstandard.frame_content_size(frame) <= _LARGEST
        ):  # the call below takes as much memory as is declared
            raise IntegrityFailure(f"segment {digest} of the backup declares no size that one has", fix=ANOTHER)
        lines = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
        if hashlib.sha256(lines).hexdigest() != digest:
            raise IntegrityFailure(f"segment {digest} of the backup is another one than it was", fix=ANOTHER)
        return [_read_line(line) for line in lines.split(b"\n") if line]
    except (zstandard.ZstdError, ValueError) as error:
        raise IntegrityFailure(f"segment {digest} of the backup cannot be read: {error}", fix=ANOTHER) from error


ANOTHER = "take another backup: deltareg server verify-backup says which are whole"


def _segment(lines: Sequence[bytes]) -> Segment:
    text = b"\n".join(lines)
    return Segment(hashlib.sha256(text).hexdigest(), zstandard.ZstdCompressor(3).compress(text), len(lines))


def _write(value: Value) -> object:
    return {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes | memoryview) else value


def _read_line(line: bytes) -> list[Value]:
    values: object = parse_json(line)
    if not is_list(values):
        raise ValueError("a line is no list")
    return [_read(value) for value in values]


def _read(value: object) -> Value:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if is_object(value) and isinstance(text := value.get("bytes"), str):
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as error:
            raise ValueError("bytes are not in base64") from error
    raise ValueError("a value is of no kind that a row has")
