"""Compressed documents in rows: manifests, storage maps, and entries of pieces.

A value is one zstd frame, or the document itself if no frame is shorter. JSON never begins like a
frame, so rows from before there were frames stay readable and nothing has to be rewritten
(docs/design.md, Documents). Digests are always of the document, never of the frame.
"""

import threading
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
import zstandard

from deltareg.errors import IntegrityFailure

DOCUMENT_BYTES_MAX: Final = 256 << 20
"""The largest document: what a request may bring, and more than a row may make of its bytes."""

_OF_THREAD: Final = threading.local()  # a compressor may not be used by two at once
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
# A search finds 5 to 8 % more where names and digests recur, for some milliseconds. Of a storage
# map beside its manifest it finds 2 %: what recurs is in the manifest, and the rest are numbers.
_SEARCH, _QUICK = 15, 1
_SEARCHED_BYTES: Final = range(4 << 10, (128 << 10) + 1)


class DocumentColumn(sa.types.TypeDecorator[bytes]):
    """A column of documents that stand alone; reading returns what was written."""

    impl = sa.LargeBinary
    cache_ok = True

    def __init__(self, *, is_quick: bool = False) -> None:
        """Describe a column; `is_quick` is for one that takes thousands of values at a time."""
        super().__init__()
        self.is_quick = is_quick

    def process_bind_param(self, value: bytes | None, dialect: sa.Dialect) -> bytes | None:
        """Compress a document for its column."""
        return None if value is None else pack_document(value, is_quick=self.is_quick)

    def process_result_value(self, value: bytes | None, dialect: sa.Dialect) -> bytes | None:
        """Decompress a document from its column."""
        return None if value is None else unpack_document(value)


@dataclass(frozen=True, slots=True)
class StoredDocuments:
    """The documents of a version or a base.

    Attributes:
        manifest: The manifest, as it was received.
        packed_map: The storage map as its row has it; None for a base without its bytes.
    """

    manifest: bytes
    packed_map: bytes | None

    @property
    def storage_map(self) -> bytes:
        """The storage map; empty if there is none.

        Raises:
            IntegrityFailure: The row is damaged.
        """
        return b"" if self.packed_map is None else unpack_map(self.packed_map, self.manifest)


@dataclass(frozen=True, slots=True)
class PackedDocuments:
    """The documents of a version as its row stores them.

    Attributes:
        manifest: The packed manifest.
        storage_map: The storage map, packed against the manifest.
    """

    manifest: bytes
    storage_map: bytes


def pack_documents(manifest: bytes, storage_map: bytes) -> PackedDocuments:
    """Pack the documents of a version for its row; do it before opening a transaction."""
    return PackedDocuments(pack_document(manifest), pack_map(storage_map, manifest))


def pack_map(storage_map: bytes, manifest: bytes) -> bytes:
    """Pack a storage map against its manifest.

    Half of a small map consists of digests that the manifest contains as well, and digests do not
    compress. So the frame may refer to the text of the manifest, which, unlike the map, never
    changes.
    """
    return pack_document(storage_map, beside=manifest)


def unpack_map(stored: bytes, manifest: bytes) -> bytes:
    """Unpack what `pack_map` packed with the same manifest.

    Raises:
        IntegrityFailure: It is something else, damaged, or packed with another manifest.
    """
    return unpack_document(stored, beside=manifest)


def pack_document(document: bytes, *, beside: bytes = b"", is_quick: bool = False) -> bytes:
    """Pack a document for a row; equal arguments return equal bytes.

    Args:
        document: The document.
        beside: Text that is available when it is read; the frame refers to it, and is compressed
            fast.
        is_quick: Compress fast rather than small.
    """
    is_searched = not is_quick and not beside and len(document) in _SEARCHED_BYTES
    level = _SEARCH if is_searched else _QUICK
    frame = _compressor(level, beside).compress(document)
    is_raw = len(document) <= len(frame) and not document.startswith(_MAGIC)
    return document if is_raw else frame


def unpack_document(stored: bytes, *, beside: bytes = b"") -> bytes:
    """Unpack what `pack_document` packed, or a document that was stored as it is.

    Raises:
        IntegrityFailure: The frame is damaged, cut or followed by something, claims more bytes than
            a document may have, or was packed with another `beside`.
    """
    if not stored.startswith(_MAGIC):
        return stored
    try:
        size = zstandard.get_frame_parameters(stored).content_size
        # Before anything is allocated: a frame of some bytes may announce any size, or none.
        if size > DOCUMENT_BYTES_MAX:
            raise _make_failure(f"it announces more than {DOCUMENT_BYTES_MAX >> 20} MiB")
        decompressor = zstandard.ZstdDecompressor(dict_data=_dictionary(beside))
        document = decompressor.decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _make_failure(str(error)) from error
    if len(document) != size:
        raise _make_failure(f"it holds {len(document)} bytes, not {size}")
    return document


def _compressor(level: int, beside: bytes) -> zstandard.ZstdCompressor:
    if level == _QUICK and not beside:  # thousands of small ones: making it takes longer than that
        compressor: zstandard.ZstdCompressor | None = getattr(_OF_THREAD, "quick", None)
        if compressor is None:
            compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
            _OF_THREAD.quick = compressor
        return compressor
    return zstandard.ZstdCompressor(level=level, write_checksum=True, dict_data=_dictionary(beside))


def _dictionary(text: bytes) -> zstandard.ZstdCompressionDict | None:
    return zstandard.ZstdCompressionDict(text, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if text else None


def _make_failure(why: str) -> IntegrityFailure:
    return IntegrityFailure(
        f"a document in the database cannot be read: {why}",
        fix="`deltareg fsck --repair` heals it, or names the push that does",
    )
