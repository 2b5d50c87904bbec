"""The inner loops in NumPy: the reference for the native version, and for use without a compiler."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from deltareg.codec.classes import ChunkClasses
from deltareg.codec.kernel import ClassTally
from deltareg.codec.scratch import Octets, Words
from deltareg.codec.zigzag import from_zigzag, to_zigzag

_BLOCK: Final = 1 << 16
_REPEATED: Final = 0xFFFFFFFF


class NumPyKernel:
    """See `deltareg.codec.kernel.Kernel`."""

    name = "numpy"

    def histogram(self, against: Words) -> list[int]:
        magnitudes = _magnitudes(against)
        even = magnitudes.size // 2 * 2
        # Two at once: counting widens every number first, which is most of the work.
        pairs = np.bincount(magnitudes[:even].view("<u2"), minlength=1 << 16).reshape(256, 256)
        counts = pairs.sum(axis=0) + pairs.sum(axis=1)
        counts[magnitudes[even:]] += 1
        return [int(count) for count in counts]

    def divide(self, words: Words, against: Words, classes: ChunkClasses, out: Words) -> None:
        if len(classes.counts) == 1:
            np.subtract(words, against, out=out)
            to_zigzag(out, np.empty_like(out))
            return
        zigzag = np.subtract(words, against)
        to_zigzag(zigzag, np.empty_like(zigzag))
        for own, order, moves in _blocks(against, classes):
            ordered = np.take(zigzag[own], order, mode="clip")
            for here, there in moves:
                out[there] = ordered[here]

    def restore(self, zigzag: Words, against: Words, classes: ChunkClasses, out: Words) -> None:
        if len(classes.counts) == 1:
            out[:] = zigzag
        else:
            for own, order, moves in _blocks(against, classes):
                out[own][order] = np.concatenate([zigzag[there] for _, there in moves])
        from_zigzag(out, np.empty_like(out))
        np.add(out, against, out=out)

    def tally(self, zigzag: Words) -> ClassTally:
        sizes = (int(np.count_nonzero(zigzag <= limit)) for limit in (2, 14, 254))
        return ClassTally(int(zigzag.max()), *sizes)

    def pack(self, zigzag: Words, width: int, out: Octets, escapes: Words) -> int:
        code, each = (1 << width) - 1, 8 // width
        symbols = np.zeros(out.size * each, dtype=np.uint8)
        np.copyto(symbols[: zigzag.size], np.minimum(zigzag, code), casting="unsafe")
        beyond = np.take(zigzag, np.flatnonzero(symbols[: zigzag.size] == code))
        escapes[: beyond.size] = beyond
        # Several symbols at once: those of one byte of the result lie in one little-endian word.
        words = symbols.view(f"<u{each}")
        joined = words.copy()
        for at in range(1, each):
            np.bitwise_or(joined, words >> ((8 - width) * at), out=joined)
        np.copyto(out, joined, casting="unsafe")
        return int(beyond.size)

    def unpack(self, packed: Octets, width: int, out: Words) -> int:
        code, each = (1 << width) - 1, 8 // width
        # Several symbols at once: those of one byte go to one little-endian word.
        words = packed.astype(f"<u{each}")
        apart = words.copy()
        for at in range(1, each):
            np.bitwise_or(apart, words << ((8 - width) * at), out=apart)
        np.bitwise_and(apart, _REPEATED // 255 * code & (1 << 8 * each) - 1, out=apart)
        symbols = apart.view(np.uint8)
        np.copyto(out, symbols[: out.size])
        return int(np.count_nonzero(symbols[: out.size] == code))

    def fill(self, out: Words, code: int, escapes: Words) -> None:
        out[np.flatnonzero(out == code)] = escapes


def _magnitudes(against: Words) -> npt.NDArray[np.uint8]:
    return (against >> (8 * against.itemsize - 9)).astype(np.uint8)


def _blocks(
    against: Words, classes: ChunkClasses
) -> Iterator[tuple[slice, npt.NDArray[np.intp], list[tuple[slice, slice]]]]:
    """Sort a chunk by class in blocks whose indices fit the processor's cache.

    Yields, for each block, its place, the order, and where each class's stretch of the ordered
    block goes in the whole chunk.
    """
    numbers = _class_numbers(against, classes)
    each = np.arange(len(classes.counts) + 1)
    goes_on = np.cumsum([0, *classes.counts[:-1]]).tolist()
    for begin in range(0, against.size, _BLOCK):
        own = slice(begin, min(begin + _BLOCK, against.size))
        order = np.argsort(numbers[own], kind="stable")
        bounds = np.searchsorted(numbers[own][order], each).tolist()
        moves: list[tuple[slice, slice]] = []
        for number, (first, end) in enumerate(pairwise(bounds)):
            at = goes_on[number]
            goes_on[number] = at + end - first
            moves.append((slice(first, end), slice(at, goes_on[number])))
        yield own, order, moves


def _class_numbers(against: Words, classes: ChunkClasses) -> npt.NDArray[np.uint8]:
    return np.frombuffer(_magnitudes(against).tobytes().translate(classes.of_key.tobytes()), np.uint8)
