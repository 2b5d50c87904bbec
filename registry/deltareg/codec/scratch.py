"""Words over bytes, and buffers that one thread uses again for every chunk."""

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


class Scratch:
    """Named buffers, each as large as the largest chunk seen; a second taking overwrites."""

    def __init__(self) -> None:
        self._buffers: dict[str, Octets] = {}

    def words(self, name: str, *, count: int, item_bytes: int) -> Words:
        """Give a buffer of `count` words; its content is whatever was there."""
        size = count * item_bytes
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = np.empty(size, dtype=np.uint8)
            self._buffers[name] = buffer
        return buffer[:size].view(_UNSIGNED[item_bytes])


def new_words(count: int, item_bytes: int) -> Words:
    """Give fresh words, not cleared."""
    return np.empty(count, dtype=_UNSIGNED[item_bytes])


def words_of(data: memoryview, item_bytes: int) -> Words:
    """View bytes as unsigned little-endian words, without a copy and whatever their alignment."""
    return np.frombuffer(data, dtype=_UNSIGNED[item_bytes])


def signed(words: Words) -> npt.NDArray[np.signedinteger]:
    """View the same words as two's complement."""
    return words.view(_SIGNED[words.itemsize])


def octets(words: Words) -> memoryview:
    """View words as plain bytes."""
    return words.view(np.uint8).data
