"""Zigzag: signed differences as small unsigned words, 0 -1 1 -2 2 -> 0 1 2 3 4, in place.

From Protocol Buffers' encoding of sint types. `sign` is a buffer as large as the words.
"""

import numpy as np

from deltareg.codec.scratch import Words, view_signed


def to_zigzag(words: Words, sign: Words) -> None:
    """Convert differences modulo 2^w to zigzag."""
    np.right_shift(view_signed(words), 8 * words.itemsize - 1, out=view_signed(sign))
    np.left_shift(words, 1, out=words)
    np.bitwise_xor(words, sign, out=words)


def from_zigzag(words: Words, sign: Words) -> None:
    """Convert zigzag to differences modulo 2^w."""
    np.bitwise_and(words, 1, out=sign)
    np.negative(sign, out=sign)
    np.right_shift(words, 1, out=words)
    np.bitwise_xor(words, sign, out=words)
