"""What codecs 3 and 4 share: zigzag differences to the reference, by class.

Integer subtraction, so that a carry does not make a long number of a small step: FM-Delta (Ning et
al., NeurIPS 2024). Packing and classes by the reference's exponent are our own.
"""

from abc import ABC, abstractmethod

from deltareg.codec.chunk_codec import build_integrity_failure, same_size
from deltareg.codec.classed import ClassedWords
from deltareg.codec.classes import ChunkClasses
from deltareg.codec.kernels import kernel
from deltareg.codec.scratch import Scratch, Words, octets, words_of


class DifferenceCodec(ABC):
    """A codec of words of at least two bytes; single bytes are left to other codecs."""

    uses_reference = True

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._classed = ClassedWords(scratch)

    @abstractmethod
    def classes(self, against: Words) -> ChunkClasses:
        """Divide a chunk into classes by its reference alone."""

    def encode(self, chunk: memoryview, reference: memoryview | None, *, item_bytes: int) -> bytes | None:
        against = words_of(same_size(reference, chunk.nbytes), item_bytes)
        if item_bytes == 1:
            return None
        payload = self.pack(words_of(chunk, item_bytes), against)
        return payload if len(payload) < chunk.nbytes else None

    def decode(
        self, payload: bytes | memoryview, reference: memoryview | None, *, size_bytes: int, item_bytes: int
    ) -> memoryview:
        against = words_of(same_size(reference, size_bytes), item_bytes)
        if item_bytes == 1:
            raise build_integrity_failure("a chunk of single bytes is never stored in classes")
        words = self._scratch.lend(against.size, item_bytes)
        self.unpack_into(words, against, memoryview(payload))
        return octets(words)

    def pack(self, words: Words, against: Words) -> bytes:
        """Encode words against as many words of the reference."""
        classes = self.classes(against)
        zigzag = self._zigzag(against)
        kernel().divide(words, against, classes, zigzag)
        return self._classed.pack(zigzag, classes)

    def unpack_into(self, words: Words, against: Words, payload: memoryview) -> None:
        """Decode a payload into all of `words`.

        Raises:
            IntegrityFailure: The payload is not exactly these words.
        """
        classes = self.classes(against)
        zigzag = self._zigzag(against)
        self._classed.unpack_into(zigzag, classes, payload)
        kernel().restore(zigzag, against, classes, words)

    def _zigzag(self, against: Words) -> Words:
        return self._scratch.words("words", count=against.size, item_bytes=against.itemsize)
