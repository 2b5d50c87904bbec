"""Where the bytes of a piece come from, for encoding it and as a reference."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from deltareg.identity.manifest import Piece

# Gives bytes [begin, end) of a piece without copying them, as slices of a mapped file are. It is
# called from several threads at once, and what it gave stays valid until the work is done.
ReadRange = Callable[[int, int], memoryview]


@dataclass(frozen=True, slots=True)
class Reference:
    """A piece that another may be encoded against, and where its bytes are."""

    piece: Piece
    read: ReadRange


@dataclass(frozen=True, slots=True)
class PieceSource:
    """A piece to encode and where its bytes are.

    Attributes:
        piece: What it is.
        read: Its bytes.
        reference: The piece to encode against; used when dtype and shape are the same.
        read_reference: The reference's bytes; without them it only tells whether nothing changed.
        others: More pieces to encode against; the encoder takes the reference that stores smallest.
    """

    piece: Piece
    read: ReadRange
    reference: Piece | None = None
    read_reference: ReadRange | None = None
    others: tuple[Reference, ...] = ()

    @property
    def is_unchanged(self) -> bool:
        """Whether the piece is its reference, so that nothing need be stored."""
        return self.reference is not None and self.reference.digest == self.piece.digest

    @property
    def candidates(self) -> tuple[Reference, ...]:
        """What can serve as reference: at hand, of the same dtype and shape; the own one first."""
        own: tuple[Reference, ...] = ()
        if self.reference is not None and self.read_reference is not None:
            own = (Reference(self.reference, self.read_reference),)
        like = (self.piece.dtype, self.piece.shape)
        return tuple(r for r in own + self.others if (r.piece.dtype, r.piece.shape) == like)

    def against(self, reference: Reference) -> Self:
        """Give the source with one reference, which was chosen."""
        return replace(self, reference=reference.piece, read_reference=reference.read, others=())

    def reference_bytes(self, begin: int, end: int) -> memoryview | None:
        """Give a range of the reference, or None when it cannot serve as one."""
        if self.reference is None or self.read_reference is None:
            return None
        if (self.reference.dtype, self.reference.shape) != (self.piece.dtype, self.piece.shape):
            return None
        return self.read_reference(begin, end)
