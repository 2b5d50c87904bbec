"""The protocol of chunk codecs, and the limits that hold for all of them.

A piece is cut into chunks of `CHUNK_ELEMENTS` elements (the last one may be shorter). Each chunk is
encoded by itself, so chunks can be fetched, checked and decoded alone and in parallel. Codec ids
are part of the stored form and are never given a second meaning (docs/format.md, Chunk codecs).
"""

from typing import Final, Protocol

from deltareg.errors import BaseMismatch, IntegrityFailure

CHUNK_ELEMENTS: Final = 1 << 20
MAX_CHUNK_BYTES: Final = CHUNK_ELEMENTS * 8

RAW: Final = 0
ZSTD: Final = 1
PLANES: Final = 2
PACKED: Final = 3
CONTEXTS: Final = 4
SUBTRACT: Final = 5
PCODEC: Final = 6
UNCHANGED: Final = 7  # a piece equal to its reference; never stored as a chunk
BLOCKS: Final = 8
FLOATS: Final = 9
LENGTHS: Final = 10


class ChunkCodec(Protocol):
    """One encoding of a chunk. An instance keeps buffers: only one thread at a time may use it."""

    @property
    def id(self) -> int:
        """The number of this codec in packs and storage maps."""
        ...

    @property
    def name(self) -> str:
        """Its name, for people."""
        ...

    @property
    def uses_reference(self) -> bool:
        """Whether it needs the same chunk of the reference, for encoding and for decoding."""
        ...

    def encode(self, chunk: memoryview, reference: memoryview | None, *, item_bytes: int) -> bytes | None:
        """Encode a chunk; equal arguments give equal bytes on every machine and in every thread.

        Args:
            chunk: Contiguous bytes, 1 to `CHUNK_ELEMENTS` elements, little-endian.
            reference: As many bytes of the reference; ignored by a codec that uses none.
            item_bytes: Bytes of an element: 1, 2, 4 or 8.

        Returns:
            The payload, shorter than the chunk; None if this codec cannot make it shorter.
        """
        ...

    def decode(
        self, payload: bytes | memoryview, reference: memoryview | None, *, size_bytes: int, item_bytes: int
    ) -> memoryview:
        """Decode the output of `encode`, using at most a few times `size_bytes` of memory.

        Args:
            payload: Untrusted bytes.
            reference: `size_bytes` of the reference; ignored by a codec that uses none.
            size_bytes: Bytes of the chunk, already checked against `MAX_CHUNK_BYTES`.
            item_bytes: Bytes of an element.

        Returns:
            Exactly `size_bytes`, in a buffer that no later call touches.

        Raises:
            IntegrityFailure: The payload is not one that `encode` could have written.
            BaseMismatch: The codec needs a reference and it is missing or of another size.
        """
        ...


def build_integrity_failure(what: str) -> IntegrityFailure:
    """Build the error for stored bytes that cannot be what was pushed."""
    return IntegrityFailure(what, fix="pull again; when it stays, push the same folder again")


def same_size(reference: memoryview | None, size_bytes: int) -> memoryview:
    """Return the reference's bytes if their number is that of the chunk's.

    Raises:
        BaseMismatch: The reference is missing or has another size.
    """
    if reference is None:
        raise BaseMismatch(
            "the chunk was encoded against a reference and none is at hand",
            fix="name the base that the version was pushed with",
        )
    if reference.nbytes != size_bytes:
        raise BaseMismatch(
            f"the reference has {reference.nbytes} bytes where the chunk has {size_bytes}",
            fix="name the base that the version was pushed with",
        )
    return reference
