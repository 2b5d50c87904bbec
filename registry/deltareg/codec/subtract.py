"""Codec 5: subtract the reference as integers, zigzag, byte planes.

Fine-tuning moves a weight by a few units in the last place, so the difference of the raw bits is a
small number, where XOR turns every carry into a long run of ones. Words wrap around, so each bit
pattern (NaN, -0, infinity, integers) is restored exactly. Integer subtraction: FM-Delta (Ning et
al., NeurIPS 2024); zigzag, 0 -1 1 -2 2 -> 0 1 2 3 4: Protocol Buffers encoding, sint types.
"""

import numpy as np

from deltareg.codec.byte_planes import BytePlanes
from deltareg.codec.chunk_codec import SUBTRACT, same_size
from deltareg.codec.scratch import Scratch, Words, octets, words_of
from deltareg.codec.zigzag import from_zigzag, to_zigzag


class SubtractCodec:
    """Stores the difference to the reference as byte planes."""

    id = SUBTRACT
    name = "subtract"
    uses_reference = True

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._planes = BytePlanes(scratch)

    def encode(self, chunk: memoryview, reference: memoryview | None, *, item_bytes: int) -> bytes | None:
        words = words_of(chunk, item_bytes)
        against = words_of(same_size(reference, chunk.nbytes), item_bytes)
        zigzag = self._scratch.words("words", count=words.size, item_bytes=item_bytes)
        np.subtract(words, against, out=zigzag)
        to_zigzag(zigzag, self._sign(zigzag))
        payload = self._planes.pack(zigzag)
        return payload if len(payload) < chunk.nbytes else None

    def decode(
        self, payload: bytes | memoryview, reference: memoryview | None, *, size_bytes: int, item_bytes: int
    ) -> memoryview:
        against = words_of(same_size(reference, size_bytes), item_bytes)
        words = self._scratch.lend(against.size, item_bytes)
        self._planes.unpack_into(words, memoryview(payload))
        from_zigzag(words, self._sign(words))
        np.add(words, against, out=words)
        return octets(words)

    def _sign(self, words: Words) -> Words:
        return self._scratch.words("plane", count=words.size, item_bytes=words.itemsize)
