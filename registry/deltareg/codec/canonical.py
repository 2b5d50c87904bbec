"""Canonical Huffman codes of few letters, for streams that are too short for tables of bytes.

A code is determined by the lengths of its words alone (Schwartz and Kallick, 1964): words of one
length are consecutive numbers in the order of their letters, and shorter ones come first. Bits are
written from the highest one down.
"""

import heapq
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from deltareg.codec.chunk_codec import build_integrity_failure
from deltareg.codec.scratch import Octets

LONGEST: Final = 15  # bits of a word, so that a length is four bits
Numbers = npt.NDArray[np.int64]


def lengths_of(counts: Sequence[int]) -> list[int] | None:
    """Return the length of each letter's word, 0 for absent letters; None if one is too long.

    The letters decide between trees of equal cost, so equal counts give equal lengths everywhere.
    """
    heap: list[tuple[int, int, tuple[int, ...]]] = [
        (count, letter, (letter,)) for letter, count in enumerate(counts) if count
    ]
    lengths = [0] * len(counts)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
        return lengths
    heapq.heapify(heap)
    while len(heap) > 1:
        (few, first, left), (more, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        for letter in (*left, *right):
            lengths[letter] += 1
        heapq.heappush(heap, (few + more, first, (*left, *right)))
    return lengths if max(lengths) <= LONGEST else None


def words_of(lengths: Sequence[int]) -> list[int]:
    """Return the word of each letter as a number.

    Raises:
        IntegrityFailure: No code has words of these lengths.
    """
    words, word, before = [0] * len(lengths), 0, 0
    for letter in _sort_by_length(lengths):
        word <<= lengths[letter] - before
        before = lengths[letter]
        words[letter] = word
        word += 1
        if word > 1 << before:
            raise build_integrity_failure("the lengths of a chunk's code words do not make a code")
    return words


def write_bits(values: Numbers, sizes: Numbers) -> Octets:
    """Write numbers one after another, each in its given number of bits."""
    places = np.arange(int(sizes.max(initial=0)))[::-1]
    bits = (values[:, np.newaxis] >> places & 1).astype(np.uint8)
    return np.packbits(bits[places < sizes[:, np.newaxis]])


def read_letters(data: memoryview, lengths: Sequence[int], count: int) -> tuple[Numbers, int]:
    """Read letters; return them and the number of bytes read.

    Raises:
        IntegrityFailure: The bytes end too early, or are not a word of the code.
    """
    letter_at, size_at = _table(lengths)
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    windows = np.zeros(bits.size + 1, dtype=np.int64)
    padded = np.concatenate([bits, np.zeros(LONGEST + 1, dtype=np.uint8)])
    for place in range(LONGEST):
        windows = windows << 1 | padded[place : place + windows.size]
    sizes = size_at[windows].tolist()
    at, places = 0, list[int]()
    for _ in range(count):
        places.append(at)
        at += sizes[at]
        if at > bits.size or at == places[-1]:
            raise build_integrity_failure("the code words of a chunk are cut or unknown")
    used = (at + 7) // 8
    if bits[at : 8 * used].any():
        raise build_integrity_failure("something follows the code words of a chunk")
    return letter_at[windows[places]], used


def read_bits(data: memoryview, sizes: Numbers) -> Numbers:
    """Read numbers that `write_bits` wrote.

    Raises:
        IntegrityFailure: The number of bytes is not exactly the expected one.
    """
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if ends.size else 0
    if len(data) != (total + 7) // 8:
        raise build_integrity_failure(f"{len(data)} bytes of low bits in a chunk that has {total} bits of them")
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    if bits[total:].any():
        raise build_integrity_failure("something follows the low bits of a chunk")
    values = np.zeros(sizes.size, dtype=np.int64)
    for place in range(int(sizes.max(initial=0))):
        own = sizes > place
        values[own] |= bits[ends[own] - 1 - place].astype(np.int64) << place
    return values


def _sort_by_length(lengths: Sequence[int]) -> list[int]:
    return sorted((i for i, size in enumerate(lengths) if size), key=lambda i: (lengths[i], i))


def _table(lengths: Sequence[int]) -> tuple[Numbers, Numbers]:
    """Return, for every window of `LONGEST` bits, its first letter and the length of that word."""
    letters = np.zeros(1 << LONGEST, dtype=np.int64)
    sizes = np.zeros(1 << LONGEST, dtype=np.int64)
    for letter, word in enumerate(words_of(lengths)):
        size = lengths[letter]
        if size:
            begin = word << (LONGEST - size)
            end = begin + (1 << (LONGEST - size))
            letters[begin:end], sizes[begin:end] = letter, size
    return letters, sizes
