"""Reads zip archives as torch writes them: members stored uncompressed, side by side.

Nothing is decompressed, so there can be no zip bomb; an archive with a compressed, hidden, repeated
or overlapping member is refused.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from deltareg.client.convert.torch_archive.values import make_refusal

_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENTRY, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_END_SIZE, _ENTRY_SIZE, _LOCAL_SIZE, _LOCATOR_SIZE, _END64_SIZE = 22, 46, 30, 20, 56
_LONGEST_COMMENT = 0xFFFF
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_MOST_MEMBERS = 200_000
_ENCRYPTED = 1
_ZIP64_EXTRA = 1
_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One file of the archive.

    Attributes:
        name: Its path.
        data: Its bytes.
        checksum: Their CRC-32, as the archive says.
        begin: The offset of its entry in the archive.
    """

    name: str
    data: memoryview
    checksum: int
    begin: int

    def check(self) -> memoryview:
        """Return the member's bytes after comparing their checksum.

        Raises:
            Refused: The checksum differs.
        """
        checksum = 0
        for start in range(0, self.data.nbytes, _BLOCK):
            checksum = zlib.crc32(self.data[start : start + _BLOCK], checksum)
        if checksum != self.checksum:
            raise make_refusal(f"{self.name[:80]} of the archive is damaged", "digest")
        return self.data


def members(data: memoryview) -> dict[str, ArchiveMember]:
    """Find the members of an archive, by path.

    Raises:
        Refused: The archive is not laid out as torch writes it.
    """
    count, start, end = _directory(data)
    by_name: dict[str, ArchiveMember] = {}
    for member in _entries(data, count, start, end):
        if member.name in by_name:
            raise make_refusal(f"the archive holds {member.name[:80]!r} twice")
        by_name[member.name] = member
    position = 0
    for member in sorted(by_name.values(), key=lambda m: m.begin):
        if member.begin < position:
            raise make_refusal(f"{member.name[:80]!r} of the archive overlaps another member", "overlap")
        position = member.begin + _LOCAL_SIZE + member.data.nbytes
    return by_name


def _directory(data: memoryview) -> tuple[int, int, int]:
    """Return how many entries there are, and where they begin and end."""
    tail = bytes(data[-(_END_SIZE + _LONGEST_COMMENT) :])
    at = tail.rfind(_END)
    if at < 0 or at + _END_SIZE > len(tail):
        raise make_refusal("the zip archive has no directory: it is cut short", "truncated")
    place = len(data) - len(tail) + at
    count, size, start, comment = struct.unpack_from("<10xHIIH", tail, at)
    if at + _END_SIZE + comment != len(tail):
        raise make_refusal("something follows the zip archive", "trailing_bytes")
    if count == _FULL16 or _FULL32 in {size, start}:
        count, size, start = _directory64(data, place)
    if count > _MOST_MEMBERS:
        raise make_refusal(f"the archive has {count} members, at most {_MOST_MEMBERS}", "limits")
    if start + size > place:
        raise make_refusal("the directory of the zip archive lies outside of it")
    return count, start, start + size


def _directory64(data: memoryview, place: int) -> tuple[int, int, int]:
    locator = bytes(data[max(0, place - _LOCATOR_SIZE) : place])
    if len(locator) < _LOCATOR_SIZE or not locator.startswith(_LOCATOR64):
        raise make_refusal("the zip archive is large and has no large directory")
    at: int = struct.unpack_from("<8xQ", locator)[0]
    record = bytes(data[at : at + _END64_SIZE])
    if len(record) < _END64_SIZE or not record.startswith(_END64):
        raise make_refusal("the zip archive has no large directory where it says")
    count, size, start = struct.unpack_from("<32xQQQ", record)
    return count, size, start


def _entries(data: memoryview, count: int, position: int, end: int) -> Iterator[ArchiveMember]:
    for _ in range(count):
        fixed = bytes(data[position : position + _ENTRY_SIZE])
        if position + _ENTRY_SIZE > end or not fixed.startswith(_ENTRY):
            raise make_refusal("the directory of the zip archive does not hold what it says")
        flags, method, checksum, packed, size, name_size, extra_size, comment, at = struct.unpack_from(
            "<8xHH4xIIIHHH8xI", fixed
        )
        text = bytes(data[position + _ENTRY_SIZE :][: name_size + extra_size])
        name = _name(text[:name_size])
        if _FULL32 in {packed, size, at}:
            packed, size, at = _large(text[name_size:], packed, size, at)
        if method != 0 or packed != size or flags & _ENCRYPTED:
            raise make_refusal(f"{name[:80]!r} of the archive is packed or locked; torch stores plain bytes")
        yield ArchiveMember(name, _read_member(data, name, at, size), checksum, at)
        position += _ENTRY_SIZE + name_size + extra_size + comment


def _read_member(data: memoryview, name: str, at: int, size: int) -> memoryview:
    fixed = bytes(data[at : at + _LOCAL_SIZE])
    if len(fixed) < _LOCAL_SIZE or not fixed.startswith(_LOCAL):
        raise make_refusal(f"{name[:80]!r} is not where the archive says")
    name_size, extra_size = struct.unpack_from("<26xHH", fixed)
    begin = at + _LOCAL_SIZE + name_size + extra_size
    if bytes(data[at + _LOCAL_SIZE :][:name_size]) != name.encode():
        raise make_refusal(f"{name[:80]!r} has two names in the archive")
    if begin + size > len(data):
        raise make_refusal(f"{name[:80]!r} of the archive is cut short", "truncated")
    return data[begin : begin + size]


def _large(extra: bytes, packed: int, size: int, at: int) -> tuple[int, int, int]:
    """Read sizes that do not fit 32 bits from their extra field, in order."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        field = extra[place + 4 : place + 4 + length]
        if kind == _ZIP64_EXTRA:
            numbers = list(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            size, packed, at = (numbers.pop(0) if told == _FULL32 and numbers else told for told in (size, packed, at))
            return packed, size, at
        place += 4 + length
    raise make_refusal("a member of the archive is large and does not say how large")


def _name(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise make_refusal("a member of the archive has a name that is not UTF-8") from error
