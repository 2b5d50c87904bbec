"""Codec 8: marks which blocks of 64 words changed at all, and codec 4 for the words of those.

Fine-tuning leaves whole rows of an embedding unchanged. Classes split such a row into as many
stretches as there are magnitudes, each with a cost of its own. One bit a block records it at once,
and the block need not be divided. Chunks whose unchanged words are scattered and not in rows are
left to codec 4. Layout: docs/format.md, Blocks.
"""

import struct
from typing import Final

import numpy as np
import numpy.typing as npt

from deltareg.codec.chunk_codec import BLOCKS, build_integrity_failure, same_size
from deltareg.codec.contexts import ContextsCodec
from deltareg.codec.frames import GENERAL, open_compressor, open_decompressor, read_frame
from deltareg.codec.scratch import Scratch, Words, octets, words_of

_BLOCK: Final = 64
_LEAST: Final = 8  # blocks; and one in so many has to be unchanged
_LOOKED_AT: Final = 256  # blocks, at first
_FRAME: Final = 32  # bytes, so that a short map's frame is not all that is seen
Flags = npt.NDArray[np.bool_]


class BlocksCodec:
    """Stores the difference to the reference where there is one."""

    id = BLOCKS
    name = "blocks"
    uses_reference = True

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._contexts = ContextsCodec(scratch)
        self._compressor = open_compressor(GENERAL)
        self._decompressor = open_decompressor()

    def encode(self, chunk: memoryview, reference: memoryview | None, *, item_bytes: int) -> bytes | None:
        against = words_of(same_size(reference, chunk.nbytes), item_bytes)
        count = against.size // _BLOCK
        if item_bytes == 1 or count < _LEAST:
            return None
        words = words_of(chunk, item_bytes)
        # Most chunks have no such rows, which a few blocks tell as well as all of them.
        few = _find_changed(words, against, count, every=max(1, count // _LOOKED_AT))
        if _count_unchanged(few) * 2 * _LEAST < few.size:
            return None
        changed = _find_changed(words, against, count)
        if _count_unchanged(changed) * _LEAST < count:
            return None
        bits = np.packbits(changed, bitorder="little")
        frame = self._compressor.compress(octets(bits))
        if len(frame) * 2 >= bits.size + _FRAME:  # what changed lies all over
            return None
        body = b""
        changed_words = self._join_changed("kept", words, changed)
        if changed_words.size:
            body = self._contexts.pack(changed_words, self._join_changed("kept reference", against, changed))
        payload = b"".join((struct.pack("<H", len(frame)), frame, body))
        return payload if len(payload) < chunk.nbytes else None

    def decode(
        self, payload: bytes | memoryview, reference: memoryview | None, *, size_bytes: int, item_bytes: int
    ) -> memoryview:
        against = words_of(same_size(reference, size_bytes), item_bytes)
        if item_bytes == 1:
            raise build_integrity_failure("a chunk of single bytes is never stored in blocks")
        changed, body = self._split(memoryview(payload), against.size // _BLOCK)
        kept_reference = self._join_changed("kept reference", against, changed)
        changed_words = self._scratch.words("kept", count=kept_reference.size, item_bytes=item_bytes)
        if changed_words.size:
            self._contexts.unpack_into(changed_words, kept_reference, body)
        elif body:
            raise build_integrity_failure(f"{len(body)} bytes follow the map of a chunk that did not change")
        words = self._scratch.lend(against.size, item_bytes)
        words[:] = against
        marked = int(np.count_nonzero(changed))
        _rows(words, changed.size)[changed] = _rows(changed_words, marked)
        words[changed.size * _BLOCK :] = changed_words[marked * _BLOCK :]
        return octets(words)

    def _split(self, payload: memoryview, count: int) -> tuple[Flags, memoryview]:
        if len(payload) < struct.calcsize("<H"):
            raise build_integrity_failure("a chunk of blocks ends in its map")
        (length,) = struct.unpack_from("<H", payload)
        begin = struct.calcsize("<H")
        size = (count + 7) // 8
        bits = read_frame(self._decompressor, payload[begin : begin + length], size_bytes=size)
        flags = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little")
        if flags[count:].any():
            raise build_integrity_failure("the map of a chunk marks blocks that are not there")
        return flags[:count].astype(np.bool_), payload[begin + length :]

    def _join_changed(self, name: str, words: Words, changed: Flags) -> Words:
        """Join the changed blocks and the words after the last whole block."""
        marked = int(np.count_nonzero(changed))
        rest = words[changed.size * _BLOCK :]
        count = marked * _BLOCK + rest.size
        joined = self._scratch.words(name, count=count, item_bytes=words.itemsize)
        np.compress(changed, _rows(words, changed.size), out=_rows(joined, marked))
        joined[marked * _BLOCK :] = rest
        return joined


def _find_changed(words: Words, against: Words, count: int, *, every: int = 1) -> Flags:
    """Find changed blocks, comparing eight bytes at a time; of all blocks, or of one in `every`."""
    size = count * _BLOCK
    own, other = (w[:size].view("<u8").reshape(count, -1)[::every] for w in (words, against))
    flags: Flags = (own != other).any(axis=1)
    return flags


def _count_unchanged(changed: Flags) -> int:
    return changed.size - int(np.count_nonzero(changed))


def _rows(words: Words, count: int) -> npt.NDArray[np.void]:
    """View whole blocks as items that are copied at once."""
    return words[: count * _BLOCK].view(f"V{_BLOCK * words.itemsize}")
