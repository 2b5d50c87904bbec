"""Codec 4: as codec 3, in classes by the reference's magnitude. The one with the smallest output.

Its gain over codec 3 comes from what the base already shows: how large a unit in the last place is,
and so how large a difference is likely to be.
"""

from deltareg.codec.chunk_codec import CONTEXTS
from deltareg.codec.classes import ChunkClasses, divide
from deltareg.codec.differences import DifferenceCodec
from deltareg.codec.kernels import kernel
from deltareg.codec.scratch import Words


class ContextsCodec(DifferenceCodec):
    """Stores the difference to the reference, grouped by weights of like magnitude."""

    id = CONTEXTS
    name = "contexts"

    def classes(self, against: Words) -> ChunkClasses:
        return divide(kernel().histogram(against))
