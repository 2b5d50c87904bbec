"""Codec 3: subtract the reference, zigzag, pack. The fast one: all differences are in one class."""

from deltareg.codec.chunk_codec import PACKED
from deltareg.codec.classes import ChunkClasses, one_class
from deltareg.codec.differences import DifferenceCodec
from deltareg.codec.scratch import Words


class PackedCodec(DifferenceCodec):
    """Stores the difference to the reference in few bits a word."""

    id = PACKED
    name = "packed"

    def classes(self, against: Words) -> ChunkClasses:
        return one_class(against.size)
