"""Words over bytes, and buffers that one thread reuses for every chunk.

Fresh memory is expensive: the kernel clears each page on first access, which for a chunk takes a
third of its decoding time.
"""

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.unsignedinteger]
Octets = npt.NDArray[np.uint8]

_UNSIGNED: Final[Mapping[int, np.dtype[np.unsignedinteger]]] = MappingProxyType(
    {size: np.dtype(f"<u{size}") for size in (1, 2, 4, 8)}
)
_SIGNED: Final[Mapping[int, np.dtype[np.signedinteger]]] = MappingProxyType(
    {size: np.dtype(f"<i{size}") for size in (1, 2, 4, 8)}
)


_LENT_AT_MOST: Final = 8
_NOT_LENT: Final = 3  # references to a buffer: the list, the loop and the question itself


class Scratch:
    """Buffers of one thread: named ones, and ones lent to callers.

    A named buffer is as large as the largest chunk so far; taking it again overwrites it.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Octets] = {}
        self._lent: list[Octets] = []

    def words(self, name: str, *, count: int, item_bytes: int) -> Words:
        """Return a buffer of `count` words with arbitrary content."""
        size = count * item_bytes
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = np.empty(size, dtype=np.uint8)
            self._buffers[name] = buffer
        return buffer[:size].view(_UNSIGNED[item_bytes])

    def lend(self, count: int, item_bytes: int) -> Words:
        """Return uncleared words that belong to the caller as long as anything refers to them.

        A buffer whose earlier words are no longer referenced is reused.
        """
        size = count * item_bytes
        for buffer in self._lent:
            if buffer.size >= size and sys.getrefcount(buffer) == _NOT_LENT:
                return buffer[:size].view(_UNSIGNED[item_bytes])
        fresh = np.empty(size, dtype=np.uint8)
        if len(self._lent) == _LENT_AT_MOST:
            self._lent.pop(0)
        self._lent.append(fresh)
        return fresh.view(_UNSIGNED[item_bytes])


def words_of(data: memoryview, item_bytes: int) -> Words:
    """View bytes as unsigned little-endian words, without a copy and whatever their alignment."""
    return np.frombuffer(data, dtype=_UNSIGNED[item_bytes])


def view_signed(words: Words) -> npt.NDArray[np.signedinteger]:
    """View the same words as two's complement."""
    return words.view(_SIGNED[words.itemsize])


def octets(words: Words) -> memoryview:
    """View words as plain bytes."""
    return words.view(np.uint8).data
