"""Codec 10: the bit length of each difference as a Huffman code, and the bits below the first.

For biases and norms, which are short: a table of bytes, as in zstd, costs a tenth of the data
there. This table has one letter for each bit length (Elias gamma codes, 1975, with lengths that fit
the data). Layout: docs/format.md, Lengths.
"""

from typing import Final

import numpy as np

from deltareg.codec.canonical import Numbers, lengths_of, read_bits, read_letters, words_of, write_bits
from deltareg.codec.chunk_codec import LENGTHS, build_integrity_failure, same_size
from deltareg.codec.scratch import Octets, Scratch, Words, octets
from deltareg.codec.scratch import words_of as chunk_words
from deltareg.codec.zigzag import from_zigzag, to_zigzag

MOST_WORDS: Final = 2048


class LengthsCodec:
    """Stores short differences to the reference."""

    id = LENGTHS
    name = "lengths"
    uses_reference = True

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch

    def encode(self, chunk: memoryview, reference: memoryview | None, *, item_bytes: int) -> bytes | None:
        against = chunk_words(same_size(reference, chunk.nbytes), item_bytes)
        if item_bytes == 1 or against.size > MOST_WORDS:
            return None
        zigzag = np.subtract(chunk_words(chunk, item_bytes), against)
        to_zigzag(zigzag, np.empty_like(zigzag))
        letters = _bit_lengths(zigzag)
        counts = np.bincount(letters).tolist()
        lengths = lengths_of(counts)
        if lengths is None or _size_of(lengths, counts) >= chunk.nbytes:
            return None
        codes = write_bits(_looked_up(words_of(lengths), letters), _looked_up(lengths, letters))
        below = np.maximum(letters - 1, 0)
        top = np.left_shift(1, below) * (letters > 0)
        lows = write_bits(zigzag.astype(np.int64) - top, below)
        return b"".join((bytes([len(lengths)]), _nibbles(lengths), codes.tobytes(), lows.tobytes()))

    def decode(
        self, payload: bytes | memoryview, reference: memoryview | None, *, size_bytes: int, item_bytes: int
    ) -> memoryview:
        against = chunk_words(same_size(reference, size_bytes), item_bytes)
        if item_bytes == 1 or against.size > MOST_WORDS:
            raise build_integrity_failure("a chunk is stored by lengths that never is")
        lengths, rest = _read_table(memoryview(payload), 8 * item_bytes + 1)
        letters, used = read_letters(rest, lengths, against.size)
        below = np.maximum(letters - 1, 0)
        lows = read_bits(rest[used:], below)
        words = self._scratch.lend(against.size, item_bytes)
        words[:] = np.left_shift(1, below) * (letters > 0) + lows
        from_zigzag(words, np.empty_like(words))
        np.add(words, against, out=words)
        return octets(words)


def _size_of(lengths: list[int], counts: list[int]) -> int:
    """Return how many bytes a payload takes, which its counts alone decide."""
    code_bits = sum(length * count for length, count in zip(lengths, counts, strict=True))
    low_bits = sum(max(letter - 1, 0) * count for letter, count in enumerate(counts))
    return 1 + (len(lengths) + 1) // 2 + (code_bits + 7) // 8 + (low_bits + 7) // 8


def _bit_lengths(words: Words) -> Numbers:
    if words.itemsize <= 4:  # float64 holds them exactly, and its exponent is the length
        return np.frexp(words.astype(np.float64))[1].astype(np.int64)
    lengths = np.zeros(words.size, dtype=np.int64)
    left = words.copy()
    while left.any():
        lengths += left > 0
        left >>= 1
    return lengths


def _looked_up(table: list[int], letters: Numbers) -> Numbers:
    return np.array(table, dtype=np.int64)[letters]


def _nibbles(lengths: list[int]) -> bytes:
    each = np.array([*lengths, 0], dtype=np.uint8)[: len(lengths) + len(lengths) % 2]
    return (each[0::2] | each[1::2] << 4).tobytes()


def _read_table(payload: memoryview, most: int) -> tuple[list[int], memoryview]:
    count = payload[0] if len(payload) else 0
    end = 1 + (count + 1) // 2
    if not 0 < count <= most or end > len(payload):
        raise build_integrity_failure("a chunk of lengths ends in its table")
    pairs: Octets = np.frombuffer(payload[1:end], dtype=np.uint8)
    lengths = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1).tolist()
    if any(lengths[count:]):
        raise build_integrity_failure("the table of a chunk of lengths has a letter too many")
    return lengths[:count], payload[end:]
