"""The native version of the inner loops: `kernel.c`, called without the interpreter's lock."""

import ctypes
import sys
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np

from deltareg.codec.classes import ChunkClasses
from deltareg.codec.kernel import ClassTally
from deltareg.codec.scratch import Octets, Words

LIBRARY: Final = Path(__file__).with_name("_kernel.so")
_POINTER, _SIZE, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_ARGUMENTS: Final = {
    "histogram": (_POINTER, _SIZE, _POINTER),
    "divide": (_POINTER, _POINTER, _SIZE, _POINTER, _POINTER, _INT, _POINTER),
    "restore": (_POINTER, _POINTER, _SIZE, _POINTER, _POINTER, _INT, _POINTER),
    "tally": (_POINTER, _SIZE, _POINTER),
    "pack": (_POINTER, _SIZE, _INT, _POINTER, _POINTER),
    "unpack": (_POINTER, _SIZE, _INT, _POINTER),
    "fill": (_POINTER, _SIZE, _INT, _POINTER, _SIZE),
}
VERSION: Final = 1
_COUNTS: Final = frozenset({"pack", "unpack"})


class NativeKernel:
    """See `deltareg.codec.kernel.Kernel`."""

    name = "native"

    def __init__(self, library: ctypes.CDLL) -> None:
        self._calls: dict[tuple[str, int], Callable[..., int]] = {}
        for name, arguments in _ARGUMENTS.items():
            for item_bytes in (2, 4, 8):
                call = getattr(library, f"dr_{name}_{8 * item_bytes}")
                call.argtypes, call.restype = arguments, _SIZE if name in _COUNTS else None
                self._calls[name, item_bytes] = call

    def histogram(self, against: Words) -> list[int]:
        against, counts = _align_words(against), np.empty(256, dtype=np.uint32)
        self._calls["histogram", against.itemsize](_at(against), against.size, _at(counts))
        return counts.tolist()

    def divide(self, words: Words, against: Words, classes: ChunkClasses, out: Words) -> None:
        self._move("divide", _align_words(words), against, classes, out)

    def restore(self, zigzag: Words, against: Words, classes: ChunkClasses, out: Words) -> None:
        self._move("restore", zigzag, against, classes, out)

    def tally(self, zigzag: Words) -> ClassTally:
        counts = np.empty(4, dtype=np.uint64)
        self._calls["tally", zigzag.itemsize](_at(zigzag), zigzag.size, _at(counts))
        return ClassTally(*(int(number) for number in counts))

    def pack(self, zigzag: Words, width: int, out: Octets, escapes: Words) -> int:
        call = self._calls["pack", zigzag.itemsize]
        return call(_at(zigzag), zigzag.size, width, _at(out), _at(escapes))

    def unpack(self, packed: Octets, width: int, out: Words) -> int:
        return self._calls["unpack", out.itemsize](_at(packed), out.size, width, _at(out))

    def fill(self, out: Words, code: int, escapes: Words) -> None:
        call = self._calls["fill", out.itemsize]
        call(_at(out), out.size, code, _at(escapes), escapes.size)

    def _move(self, name: str, given: Words, against: Words, classes: ChunkClasses, out: Words) -> None:
        against = _align_words(against)
        begins = np.array([0, *accumulate(classes.counts)], dtype=np.uint32)
        self._calls[name, out.itemsize](
            _at(given), _at(against), out.size, _at(classes.of_key), _at(begins), len(classes.counts), _at(out)
        )


def load() -> NativeKernel | None:
    """Load the library; None if it was not built, or for another machine or release."""
    if sys.byteorder != "little":  # NumPy reads little-endian words everywhere; C does not
        return None
    try:
        library = ctypes.CDLL(str(LIBRARY))
        return NativeKernel(library) if library.dr_version() == VERSION else None
    except (OSError, AttributeError):
        return None


def _align_words(words: Words) -> Words:
    """Copy words that are not aligned, which C may not read."""
    return words if words.flags.aligned else words.copy()


def _at(array: np.ndarray) -> int:
    return array.ctypes.data
