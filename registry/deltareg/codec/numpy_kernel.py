"""The inner loops in NumPy: what the native side must equal, and what runs without a compiler."""

import numpy as np
import numpy.typing as npt

from deltareg.codec.classes import Classes
from deltareg.codec.kernel import Tally
from deltareg.codec.scratch import Octets, Words
from deltareg.codec.zigzag import from_zigzag, to_zigzag


class NumPyKernel:
    """See `deltareg.codec.kernel.Kernel`."""

    name = "numpy"

    def histogram(self, against: Words) -> list[int]:
        found = _magnitudes(against)
        even = found.size // 2 * 2
        # Two at once: counting widens every number first, which is most of the work.
        pairs = np.bincount(found[:even].view("<u2"), minlength=1 << 16).reshape(256, 256)
        counts = pairs.sum(axis=0) + pairs.sum(axis=1)
        counts[found[even:]] += 1
        return [int(count) for count in counts]

    def divide(self, words: Words, against: Words, classes: Classes, out: Words) -> None:
        if len(classes.counts) == 1:
            np.subtract(words, against, out=out)
            to_zigzag(out, np.empty_like(out))
            return
        zigzag = np.subtract(words, against)
        to_zigzag(zigzag, out)
        np.take(zigzag, _order(against, classes), out=out, mode="clip")

    def restore(self, zigzag: Words, against: Words, classes: Classes, out: Words) -> None:
        if len(classes.counts) == 1:
            out[:] = zigzag
        else:
            out[_order(against, classes)] = zigzag
        from_zigzag(out, np.empty_like(out))
        np.add(out, against, out=out)

    def tally(self, zigzag: Words) -> Tally:
        sizes = (int(np.count_nonzero(zigzag <= limit)) for limit in (2, 14, 254))
        return Tally(int(zigzag.max()), *sizes)

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
        symbols = np.empty(packed.size * each, dtype=np.uint8)
        for at in range(each):
            np.bitwise_and(packed >> np.uint8(width * at), np.uint8(code), out=symbols[at::each])
        np.copyto(out, symbols[: out.size])
        return int(np.count_nonzero(symbols[: out.size] == code))

    def fill(self, out: Words, code: int, escapes: Words) -> None:
        out[out == code] = escapes


def _magnitudes(against: Words) -> npt.NDArray[np.uint8]:
    return (against >> (8 * against.itemsize - 9)).astype(np.uint8)


def _order(against: Words, classes: Classes) -> npt.NDArray[np.intp]:
    # Classes are runs of magnitudes, so a class is how many runs begin at or below a magnitude.
    found, numbers = _magnitudes(against), np.zeros(against.size, dtype=np.uint8)
    for begin in np.flatnonzero(np.diff(classes.of_key)) + 1:
        np.add(numbers, (found >= np.uint8(begin)).view(np.uint8), out=numbers)
    return np.argsort(numbers, kind="stable")
