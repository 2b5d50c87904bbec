"""Codec 2: rotate left by one, then byte planes. For weights that have no reference.

The rotation moves a float's sign to the lowest bit, so that bf16 and fp32 exponents fill the whole
top byte (the layout of ZipNN: Hershcovitch et al., 2024, arXiv 2411.05239).
"""

import numpy as np

from deltareg.codec.byte_planes import BytePlanes
from deltareg.codec.chunk_codec import PLANES
from deltareg.codec.scratch import Scratch, Words, octets, words_of


class PlanesCodec:
    """Stores a chunk as rotated byte planes."""

    id = PLANES
    name = "planes"
    uses_reference = False

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._planes = BytePlanes(scratch)

    def encode(self, chunk: memoryview, reference: memoryview | None, *, item_bytes: int) -> bytes | None:
        del reference
        words = words_of(chunk, item_bytes)
        rotated = self._scratch.words("words", count=words.size, item_bytes=item_bytes)
        top = self._scratch.words("plane", count=words.size, item_bytes=item_bytes)
        np.left_shift(words, 1, out=rotated)
        np.right_shift(words, 8 * item_bytes - 1, out=top)
        np.bitwise_or(rotated, top, out=rotated)
        payload = self._planes.pack(rotated)
        return payload if len(payload) < chunk.nbytes else None

    def decode(
        self, payload: bytes | memoryview, reference: memoryview | None, *, size_bytes: int, item_bytes: int
    ) -> memoryview:
        del reference
        words = self._scratch.lend(size_bytes // item_bytes, item_bytes)
        self._planes.unpack_into(words, memoryview(payload))
        self._rotate_back(words)
        return octets(words)

    def _rotate_back(self, words: Words) -> None:
        sign = self._scratch.words("plane", count=words.size, item_bytes=words.itemsize)
        np.left_shift(words, 8 * words.itemsize - 1, out=sign)
        np.right_shift(words, 1, out=words)
        np.bitwise_or(words, sign, out=words)
