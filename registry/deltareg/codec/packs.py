"""Pack framing: chunks, then an index that lets the pack be read without a storage map.

::

    magic 8 | payload | payload | … | index: entries of 24 bytes | trailer 24

All integers are little-endian. The byte-exact description is docs/format.md, Packs. A pack never
says which version it belongs to, who made it or when.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import xxhash

from deltareg.codec.chunk_codec import CHUNK_ELEMENTS, build_integrity_failure
from deltareg.digest import Digest
from deltareg.errors import IntegrityFailure

PACK_TARGET_BYTES: Final = 16 << 20
PACK_LIMIT_BYTES: Final = 64 << 20
MAGIC: Final = b"\x89DRPK\r\n\x01"  # the last byte is the format's version
END_MAGIC: Final = b"DRPKEND\x01"

_ENTRY: Final = struct.Struct("<IIIBBHQ")
_TRAILER: Final = struct.Struct("<QQ8s")
TRAILER_BYTES: Final = _TRAILER.size
ENTRY_BYTES: Final = _ENTRY.size
FRAME_BYTES: Final = len(MAGIC) + TRAILER_BYTES


@dataclass(frozen=True, slots=True)
class PackEntry:
    """One chunk as the pack's own index describes it.

    Attributes:
        offset: First byte of the payload in the pack.
        length: Bytes of the payload.
        codec: Chunk codec id.
        item_bytes: Bytes of an element.
        size_bytes: Decoded bytes.
        check: xxh3-64 of the decoded bytes.
    """

    offset: int
    length: int
    codec: int
    item_bytes: int
    size_bytes: int
    check: int


class PackWriter:
    """Collects chunks up to the target size. Not safe for use by two threads at once."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._hasher = hashlib.sha256()
        self._entries: list[PackEntry] = []
        self._append(MAGIC)

    def has_room_for(self, length: int) -> bool:
        """Whether a further payload keeps the finished pack within `PACK_TARGET_BYTES`."""
        index_bytes = ENTRY_BYTES * (len(self._entries) + 1)
        size = len(self._data) + length + index_bytes + TRAILER_BYTES
        return not self._entries or size <= PACK_TARGET_BYTES

    def add(self, payload: bytes, *, codec: int, item_bytes: int, size_bytes: int, check: int) -> PackEntry:
        """Append a payload."""
        entry = PackEntry(len(self._data), len(payload), codec, item_bytes, size_bytes, check)
        self._append(payload)
        self._entries.append(entry)
        return entry

    @property
    def entries(self) -> Sequence[PackEntry]:
        """The entries added so far, in order."""
        return tuple(self._entries)

    def finish(self) -> tuple[Digest, memoryview]:
        """Append index and trailer and return the whole pack; nothing may be added afterwards."""
        index = b"".join(
            _ENTRY.pack(e.offset, e.length, e.size_bytes, e.codec, e.item_bytes, 0, e.check) for e in self._entries
        )
        self._append(index)
        self._append(_TRAILER.pack(len(index), xxhash.xxh3_64_intdigest(index), END_MAGIC))
        digest = Digest("sha256", self._hasher.hexdigest())
        return digest, memoryview(self._data).toreadonly()

    def _append(self, data: bytes) -> None:
        self._hasher.update(data)
        self._data += data


def index_range(trailer: bytes, pack_bytes: int) -> tuple[int, int]:
    """Find the index from the last `TRAILER_BYTES` of a pack: (first byte, one past the last).

    Raises:
        IntegrityFailure: These are not the last bytes of a pack of that size.
    """
    index_bytes, _ = _read_trailer(trailer)
    end = pack_bytes - TRAILER_BYTES
    begin = end - index_bytes
    if pack_bytes > PACK_LIMIT_BYTES or index_bytes % _ENTRY.size or begin < len(MAGIC):
        raise _not_a_pack(f"an index of {index_bytes} bytes in a pack of {pack_bytes}")
    return begin, end


def read_index(index: bytes, trailer: bytes, *, pack_bytes: int) -> tuple[PackEntry, ...]:
    """Read and check an index.

    Args:
        index: The bytes of `index_range`.
        trailer: The last `TRAILER_BYTES` of the pack.
        pack_bytes: Size of the whole pack.

    Raises:
        IntegrityFailure: The index is damaged, or describes chunks that no encoder makes.
    """
    begin, end = index_range(trailer, pack_bytes)
    _, check = _read_trailer(trailer)
    if len(index) != end - begin or xxhash.xxh3_64_intdigest(index) != check:
        raise _not_a_pack("the index does not have its check value")
    entries = tuple(
        PackEntry(offset, length, codec, item_bytes, size, value)
        for offset, length, size, codec, item_bytes, _, value in _ENTRY.iter_unpack(index)
    )
    position = len(MAGIC)
    for entry in entries:
        if entry.offset != position or not _is_possible(entry):
            raise _not_a_pack(f"the index describes an impossible chunk at {entry.offset}")
        position += entry.length
    if position != begin:
        raise _not_a_pack(f"{begin - position} bytes belong to no chunk")
    return entries


def read_pack(pack: bytes | memoryview) -> tuple[PackEntry, ...]:
    """Read the index of a pack in memory; payloads are not copied.

    Raises:
        IntegrityFailure: It is not a pack, or a damaged one.
    """
    view = memoryview(pack)
    if bytes(view[: len(MAGIC)]) != MAGIC:
        raise _not_a_pack("it does not start like one")
    trailer = bytes(view[-TRAILER_BYTES:])
    begin, end = index_range(trailer, len(view))
    return read_index(bytes(view[begin:end]), trailer, pack_bytes=len(view))


def _is_possible(entry: PackEntry) -> bool:
    items = (1, 2, 4, 8)
    return (
        entry.item_bytes in items
        and 0 < entry.length <= entry.size_bytes <= CHUNK_ELEMENTS * entry.item_bytes
        and entry.size_bytes % entry.item_bytes == 0
    )


def _read_trailer(trailer: bytes) -> tuple[int, int]:
    if len(trailer) != TRAILER_BYTES:
        raise _not_a_pack(f"it ends after {len(trailer)} bytes")
    index_bytes, check, magic = _TRAILER.unpack(trailer)
    if magic != END_MAGIC:
        raise _not_a_pack("it does not end like one: it is cut or of another version")
    return index_bytes, check


def _not_a_pack(why: str) -> IntegrityFailure:
    return build_integrity_failure(f"not a sound pack: {why}")
