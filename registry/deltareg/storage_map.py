"""The storage map: how a version's bytes are stored now. It is replaceable and never identity."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from deltareg.digest import Digest
from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.json_values import is_count, is_list, is_object
from deltareg.manifest import Manifest, canonical_json
from deltareg.tensors import strict_json_object

SCHEMA = "deltareg.storage/1"


@dataclass(frozen=True, slots=True)
class PackRef:
    """One stored object: its content digest and size; where it lies is the server's affair."""

    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """One encoded chunk.

    Attributes:
        pack: The pack's digest.
        offset: First byte in the pack.
        length: Encoded bytes.
        codec: Chunk codec id (docs/format.md).
        size_bytes: Decoded bytes.
        check: xxh3-64 of the decoded bytes.
    """

    pack: Digest
    offset: int
    length: int
    codec: int
    size_bytes: int
    check: int


@dataclass(frozen=True, slots=True)
class StoredPiece:
    """Where a piece is found.

    Attributes:
        digest: The piece's own digest.
        reference: The piece that its chunks are encoded against; None when they stand alone.
            A piece that is equal to its reference has no chunks.
        chunks: In order of the decoded bytes.
    """

    digest: Digest
    reference: Digest | None
    chunks: tuple[Chunk, ...]

    @property
    def is_unchanged(self) -> bool:
        """Whether the piece is the reference itself and nothing is stored for it."""
        return self.reference == self.digest and not self.chunks

    @property
    def packs(self) -> frozenset[Digest]:
        """The packs that its chunks lie in."""
        return frozenset(chunk.pack for chunk in self.chunks)

    def encode(self) -> bytes:
        """Write it alone, as kept for finding the piece again in another push."""
        return canonical_json(_piece_json(self, None))

    @classmethod
    def decode(cls, digest: Digest, raw: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            Refused: It is something else.
        """
        found = _piece(digest, strict_json_object(raw, code="header"), None)
        return cls(found.digest, found.reference, found.chunks)


@dataclass(frozen=True, slots=True)
class StorageMap:
    """All pieces of a manifest, and the packs that hold them."""

    packs: tuple[PackRef, ...]
    pieces: Mapping[Digest, StoredPiece]

    def encode(self) -> bytes:
        """Write compact JSON; chunks name their pack by its index."""
        index = {pack.digest: number for number, pack in enumerate(self.packs)}
        return canonical_json(
            {
                "schema": SCHEMA,
                "packs": [[str(pack.digest), pack.size_bytes] for pack in self.packs],
                "pieces": {str(d): _piece_json(piece, index) for d, piece in self.pieces.items()},
            }
        )

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read a storage map; every offset and length is checked against its pack.

        Raises:
            Refused: It is malformed or points outside its packs.
        """
        fields = strict_json_object(raw, code="header")
        packs, pieces = fields.get("packs"), fields.get("pieces")
        if fields.get("schema") != SCHEMA or not is_list(packs):
            raise _malformed(f"it is not {SCHEMA}")
        if not is_object(pieces):
            raise _malformed("pieces is not an object")
        refs = tuple(_pack(item) for item in packs)
        sizes = {pack.digest: pack.size_bytes for pack in refs}
        found = (_piece(_digest(d), item, refs) for d, item in pieces.items())
        stored = {piece.digest: piece for piece in found}
        for piece in stored.values():
            for chunk in piece.chunks:
                if chunk.offset + chunk.length > sizes[chunk.pack]:
                    raise _malformed(f"a chunk of {piece.digest} lies outside its pack")
        return cls(refs, stored)

    @property
    def stored_bytes(self) -> int:
        """Encoded bytes of all chunks, each place in a pack counted once."""
        places = {(c.pack, c.offset): c.length for p in self.pieces.values() for c in p.chunks}
        return sum(places.values())

    def check_covers(self, manifest: Manifest, base: Iterable[Digest]) -> None:
        """Check that every piece of the manifest can be rebuilt from this map and the base.

        Args:
            manifest: What must be rebuilt.
            base: Digests of the base's tensors, allowed as references.

        Raises:
            Refused: A piece is missing, has the wrong length, or needs something else.
        """
        known = frozenset(base)
        for digest, wanted in manifest.pieces().items():
            piece = self.pieces.get(digest)
            if piece is None:
                raise _malformed(f"piece {digest} is not stored")
            if piece.reference is not None and piece.reference not in known:
                raise _malformed(f"piece {digest} refers to {piece.reference}, not of the base")
            size = sum(chunk.size_bytes for chunk in piece.chunks)
            if not piece.is_unchanged and size != wanted.size_bytes:
                raise _malformed(f"piece {digest} has {size} bytes, not {wanted.size_bytes}")


def _malformed(message: str) -> Refused:
    return Refused(
        [Problem("header", f"storage map: {message}", fix="push it with a current client")]
    )


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidInput as error:
        raise _malformed(error.message) from error


def _piece_json(piece: StoredPiece, index: Mapping[Digest, int] | None) -> dict[str, object]:
    chunks = [
        [
            str(c.pack) if index is None else index[c.pack],
            c.offset, c.length, c.codec, c.size_bytes, f"{c.check:016x}",
        ]
        for c in piece.chunks
    ]  # fmt: skip
    reference = None if piece.reference is None else str(piece.reference)
    return {"reference": reference, "chunks": chunks}


def _pack(item: object) -> PackRef:
    if not is_list(item) or len(item) != 2:
        raise _malformed("a pack is not [digest, size]")
    digest, size = item
    if not isinstance(digest, str) or not is_count(size, below=1 << 40) or size == 0:
        raise _malformed("a pack is not [digest, size]")
    return PackRef(_digest(digest), size)


def _piece(digest: Digest, item: object, packs: tuple[PackRef, ...] | None) -> StoredPiece:
    entries = item.get("chunks") if is_object(item) else None
    if not is_object(item) or not is_list(entries):
        raise _malformed(f"piece {digest} has no chunks")
    reference = item.get("reference")
    if reference is not None and not isinstance(reference, str):
        raise _malformed(f"piece {digest} has an odd reference")
    chunks = tuple(_chunk(c, packs) for c in entries)
    return StoredPiece(digest, None if reference is None else _digest(reference), chunks)


def _chunk(item: object, packs: tuple[PackRef, ...] | None) -> Chunk:
    if not is_list(item) or len(item) != 6:
        raise _malformed("a chunk does not have six fields")
    pack, *numbers, check = item
    if not isinstance(check, str) or len(check) != 16 or set(check) - set("0123456789abcdef"):
        raise _malformed("a chunk's check value is not 16 hex digits")
    counts = [n for n in numbers if is_count(n, below=1 << 40)]
    if len(counts) != 4:
        raise _malformed("a chunk holds something that is not a count")
    if packs is None:
        where = _digest(str(pack))
    elif is_count(pack, below=len(packs)):
        where = packs[pack].digest
    else:
        raise _malformed("a chunk names no pack")
    return Chunk(where, counts[0], counts[1], counts[2], counts[3], int(check, 16))
