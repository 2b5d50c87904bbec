"""Sources of the bytes of a piece, to encode it or to use it as a reference."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from deltareg.identity.manifest import Piece

# Gives bytes [begin, end) of a piece without copying them, as slices of a mapped file are. It is
# called from several threads at once, and what it gave stays valid until the work is done.
ReadRange = Callable[[int, int], memoryview]


@dataclass(frozen=True, slots=True)
class Reference:
    """A piece that another may be encoded against, and how to read it."""

    piece: Piece
    read: ReadRange


@dataclass(frozen=True, slots=True)
class PieceSource:
    """A piece to encode and how to read it.

    Attributes:
        piece: The piece.
        read: Reads its bytes.
        reference: The piece to encode against; used if dtype and shape are the same.
        read_reference: Reads the reference's bytes; without it the reference only shows whether the
            piece is unchanged.
        others: More pieces to encode against; the encoder uses the one with the smallest result.
    """

    piece: Piece
    read: ReadRange
    reference: Piece | None = None
    read_reference: ReadRange | None = None
    others: tuple[Reference, ...] = ()

    @property
    def is_unchanged(self) -> bool:
        """Whether the piece equals its reference, so that nothing need be stored."""
        return self.reference is not None and self.reference.digest == self.piece.digest

    @property
    def candidates(self) -> tuple[Reference, ...]:
        """The usable references: readable and of the same dtype and shape, its own first."""
        own: tuple[Reference, ...] = ()
        if self.reference is not None and self.read_reference is not None:
            own = (Reference(self.reference, self.read_reference),)
        like = (self.piece.dtype, self.piece.shape)
        return tuple(r for r in own + self.others if (r.piece.dtype, r.piece.shape) == like)

    def against(self, reference: Reference) -> Self:
        """Return the source with only the chosen reference."""
        return replace(self, reference=reference.piece, read_reference=reference.read, others=())

    def reference_bytes(self, begin: int, end: int) -> memoryview | None:
        """Return a range of the reference; None if it cannot serve as one."""
        if self.reference is None or self.read_reference is None:
            return None
        if (self.reference.dtype, self.reference.shape) != (self.piece.dtype, self.piece.shape):
            return None
        return self.read_reference(begin, end)
