"""The inner loops of codecs 3 and 4: one seam, a native side and a NumPy side with equal results.

Words are unsigned integers of 2, 4 or 8 bytes. Zigzag differences `z` are `d = x - r` modulo 2^w,
as `(d << 1) ^ (d >> (w - 1))`. The native side is there when a compiler was, at installation
(`kernel.c`); the bytes that come out are the same, so packs say nothing of it.
"""

from dataclasses import dataclass
from typing import Protocol

from deltareg.codec.classes import ChunkClasses
from deltareg.codec.scratch import Octets, Words


@dataclass(frozen=True, slots=True)
class ClassTally:
    """How large the numbers of a class are.

    Attributes:
        largest: The largest one.
        up_to_2: How many are at most 2.
        up_to_14: How many are at most 14.
        up_to_254: How many are at most 254.
    """

    largest: int
    up_to_2: int
    up_to_14: int
    up_to_254: int


class Kernel(Protocol):
    """One side. All arrays are contiguous; those given to be filled have exactly the room."""

    @property
    def name(self) -> str:
        """What people call it: `native` or `numpy`."""
        ...

    def histogram(self, against: Words) -> list[int]:
        """Count the 256 magnitudes (the eight bits below the sign) of a reference."""
        ...

    def divide(self, words: Words, against: Words, classes: ChunkClasses, out: Words) -> None:
        """Write the zigzag differences class by class, within each in their order."""
        ...

    def restore(self, zigzag: Words, against: Words, classes: ChunkClasses, out: Words) -> None:
        """Undo `divide`."""
        ...

    def tally(self, zigzag: Words) -> ClassTally:
        """Count how many numbers fit which width."""
        ...

    def pack(self, zigzag: Words, width: int, out: Octets, escapes: Words) -> int:
        """Pack numbers into 2, 4 or 8 bits each, the first one in the lowest bits.

        What is not below `2**width - 1` gets that code and goes to `escapes` as it is.

        Returns:
            How many escapes there are.
        """
        ...

    def unpack(self, packed: Octets, width: int, out: Words) -> int:
        """Undo `pack` but for the escapes, whose places hold the code.

        Returns:
            How many escapes there are.
        """
        ...

    def fill(self, out: Words, code: int, escapes: Words) -> None:
        """Put the escapes, as many as there are, where the code is."""
        ...
