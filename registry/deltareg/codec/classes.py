"""Classes of a chunk's elements by the magnitude of the reference, at no cost in bytes.

A step of training is about as large for a small weight as for a large one, but a unit in the last
place is not: in words, a small weight moves by thousands and a large one by nothing. So elements
whose reference has the same magnitude are coded together. The eight bits below the sign are the
magnitude: the exponent of bf16 and fp32, and of fp16 the exponent with three bits of the fraction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

MAX_CLASSES: Final = 24
_KEYS: Final = 256
_LEAST: Final = 2048  # elements of a class; a Huffman table costs about 100 bytes


@dataclass(frozen=True, slots=True)
class ChunkClasses:
    """The division of a chunk into classes.

    Attributes:
        of_key: The class of each magnitude, (256,) uint8.
        counts: How many elements each class has, in order; their sum is the chunk's.
    """

    of_key: npt.NDArray[np.uint8]
    counts: tuple[int, ...]


def one_class(count: int) -> ChunkClasses:
    """Build a single class for the whole chunk."""
    return ChunkClasses(np.zeros(_KEYS, dtype=np.uint8), (count,))


def divide(histogram: Sequence[int]) -> ChunkClasses:
    """Merge magnitudes, from the smallest up, into large enough classes, in integer arithmetic.

    A class is complete as soon as it has a 64th of the chunk and 2048 elements. The last class that
    may be opened takes all the rest. A rest that is too small joins the class before it.

    Args:
        histogram: How many elements have each of the 256 magnitudes.
    """
    least = max(sum(histogram) // 64, _LEAST)
    of_key = np.zeros(_KEYS, dtype=np.uint8)
    counts: list[int] = []
    begin = in_class = 0
    for key, count in enumerate(histogram):
        in_class += count
        if in_class >= least and len(counts) < MAX_CLASSES - 1:
            of_key[begin : key + 1] = len(counts)
            counts.append(in_class)
            begin, in_class = key + 1, 0
    if in_class and (not counts or in_class >= least):
        of_key[begin:] = len(counts)
        counts.append(in_class)
    elif counts:
        of_key[begin:] = len(counts) - 1
        counts[-1] += in_class
    return ChunkClasses(of_key, tuple(counts))
