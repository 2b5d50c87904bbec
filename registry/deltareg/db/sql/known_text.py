"""Compression of small documents beside a text that is known beforehand.

What the product writes over and over (statements that were signed, checks of a suite) is nearly all
the same text: keys, names of checks, sentences. A frame refers to that text in a file beside this
module instead of repeating it. The first byte of what is stored is the number of the file; JSON
never begins so. A file never changes: what was packed with it could not be read any more. For other
text, add one with the next number (docs/adr/0116-what-a-version-costs.md).
"""

import threading
from functools import cache
from importlib.resources import files
from typing import Final

import zstandard

from deltareg.errors import IntegrityFailure

NEWEST: Final = 1
"""The number of the text that new documents are packed with."""
_LEVEL: Final = 9
_MOST_BYTES: Final = 64 << 20
_OF_THREAD: Final = threading.local()  # a compressor may not be used by two at once


def pack_known(document: bytes) -> bytes:
    """Pack a document that resembles the newest known text; equal documents give equal bytes."""
    compressor: zstandard.ZstdCompressor | None = getattr(_OF_THREAD, "compressor", None)
    if compressor is None:
        text = _known_text(NEWEST)
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, dict_data=text)
        _OF_THREAD.compressor = compressor
    return bytes([NEWEST]) + compressor.compress(document)


def unpack_known(stored: bytes) -> bytes:
    """Unpack what `pack_known` packed with any known text.

    Raises:
        IntegrityFailure: It is damaged, or of a later release.
    """
    number, frame = stored[0], stored[1:]
    if number > NEWEST:
        raise _make_failure(f"it was packed by a later release, with text {number}")
    try:
        size = zstandard.get_frame_parameters(frame).content_size
        if size > _MOST_BYTES:
            raise _make_failure(f"it announces more than {_MOST_BYTES >> 20} MiB")
        decompressor = zstandard.ZstdDecompressor(dict_data=_known_text(number))
        return decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _make_failure(str(error)) from error


def is_packed(stored: bytes) -> bool:
    """Whether bytes were packed with a known text."""
    return bool(stored) and 0 < stored[0] < ord(" ")


@cache
def _known_text(number: int) -> zstandard.ZstdCompressionDict:
    raw = files("deltareg.db.sql").joinpath(f"known_text_{number}.txt").read_bytes()
    text = zstandard.ZstdCompressionDict(raw, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    text.precompute_compress(level=_LEVEL)  # pyright: ignore[reportUnknownMemberType]  # its stub says not what it returns
    return text


def _make_failure(why: str) -> IntegrityFailure:
    return IntegrityFailure(f"something packed in the database cannot be read: {why}", fix="restore it from a backup")
