"""The inner loops in NumPy: what the native side must equal, and what runs without a compiler."""

import numpy as np
import numpy.typing as npt

from deltareg.codec.classes import Classes
from deltareg.codec.kernel import Tally
from deltareg.codec.scratch import Octets, Words, signed


class NumPyKernel:
    """See `deltareg.codec.kernel.Kernel`."""

    name = "numpy"

    def histogram(self, against: Words) -> list[int]:
        return [int(count) for count in np.bincount(_magnitudes(against), minlength=256)]

    def divide(self, words: Words, against: Words, classes: Classes, out: Words) -> None:
        if len(classes.counts) == 1:
            np.subtract(words, against, out=out)
            _to_zigzag(out)
            return
        zigzag = np.subtract(words, against)
        _to_zigzag(zigzag)
        np.take(zigzag, _order(against, classes), out=out, mode="clip")

    def restore(self, zigzag: Words, against: Words, classes: Classes, out: Words) -> None:
        if len(classes.counts) == 1:
            out[:] = zigzag
        else:
            out[_order(against, classes)] = zigzag
        _from_zigzag(out)
        np.add(out, against, out=out)

    def tally(self, zigzag: Words) -> Tally:
        sizes = (int(np.count_nonzero(zigzag <= limit)) for limit in (2, 14, 254))
        return Tally(int(zigzag.max()), *sizes)

    def pack(self, zigzag: Words, width: int, out: Octets, escapes: Words) -> int:
        code, each = (1 << width) - 1, 8 // width
        symbols = np.zeros(out.size * each, dtype=np.uint8)
        np.copyto(symbols[: zigzag.size], np.minimum(zigzag, code), casting="unsafe")
        beyond = zigzag[symbols[: zigzag.size] == code]
        escapes[: beyond.size] = beyond
        out[:] = symbols[::each]
        for at in range(1, each):
            np.bitwise_or(out, symbols[at::each] << np.uint8(width * at), out=out)
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
    return np.argsort(classes.of_key[_magnitudes(against)], kind="stable")


def _to_zigzag(words: Words) -> None:
    sign = (signed(words) >> (8 * words.itemsize - 1)).view(words.dtype)
    np.left_shift(words, 1, out=words)
    np.bitwise_xor(words, sign, out=words)


def _from_zigzag(words: Words) -> None:
    sign = np.negative(words & 1)
    np.right_shift(words, 1, out=words)
    np.bitwise_xor(words, sign, out=words)
