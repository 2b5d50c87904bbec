"""The inner loops of codecs 3 and 4: one protocol, with native and NumPy versions of equal results.

Words are unsigned integers of 2, 4 or 8 bytes. Zigzag differences `z` are `d = x - r` modulo 2^w,
as `(d << 1) ^ (d >> (w - 1))`. The native version exists if a compiler was available at
installation (`kernel.c`); its output is the same, so packs do not record it.
"""

from dataclasses import dataclass
from typing import Protocol

from deltareg.codec.classes import ChunkClasses
from deltareg.codec.scratch import Octets, Words


@dataclass(frozen=True, slots=True)
class ClassTally:
    """Counts of the sizes of the numbers of a class.

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
    """One version of the inner loops. Arrays are contiguous; output arrays have the exact size."""

    @property
    def name(self) -> str:
        """Its name, for people: `native` or `numpy`."""
        ...

    def histogram(self, against: Words) -> list[int]:
        """Count the 256 magnitudes (the eight bits below the sign) of a reference."""
        ...

    def divide(self, words: Words, against: Words, classes: ChunkClasses, out: Words) -> None:
        """Write the zigzag differences class by class, keeping their order within each."""
        ...

    def restore(self, zigzag: Words, against: Words, classes: ChunkClasses, out: Words) -> None:
        """Undo `divide`."""
        ...

    def tally(self, zigzag: Words) -> ClassTally:
        """Count the numbers that fit each width."""
        ...

    def pack(self, zigzag: Words, width: int, out: Octets, escapes: Words) -> int:
        """Pack numbers into 2, 4 or 8 bits each, the first one in the lowest bits.

        Numbers that are not below `2**width - 1` get that code and are written to `escapes`.

        Returns:
            The number of escapes.
        """
        ...

    def unpack(self, packed: Octets, width: int, out: Words) -> int:
        """Undo `pack` except for the escapes, whose places hold the code.

        Returns:
            The number of escapes.
        """
        ...

    def fill(self, out: Words, code: int, escapes: Words) -> None:
        """Put the escapes, in order, where the code is."""
        ...
