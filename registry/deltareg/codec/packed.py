"""Codec 3: subtract the reference, zigzag, pack. The fast one: every difference is in one class."""

from deltareg.codec.chunk_codec import PACKED
from deltareg.codec.classes import Classes, one_class
from deltareg.codec.differences import Differences
from deltareg.codec.scratch import Words


class Packed(Differences):
    """Stores the difference to the reference in few bits a word."""

    id = PACKED
    name = "packed"

    def classes(self, against: Words) -> Classes:
        return one_class(against.size)
