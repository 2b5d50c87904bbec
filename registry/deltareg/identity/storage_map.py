"""The storage map: how a version's bytes are stored now. Replaceable, never part of the identity."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from deltareg.digest import Digest
from deltareg.documents.json_values import is_count, is_list, is_object
from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.identity.manifest import Manifest, canonical_json
from deltareg.tensors.header import strict_json_object

SCHEMA = "deltareg.storage/1"
DEPTH_MAX = 4
"""References between a piece and what stands alone or belongs to the base, at most."""


@dataclass(frozen=True, slots=True)
class PackRef:
    """A stored object: its content digest and size; its location is up to the server."""

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
    """The location of a piece.

    Attributes:
        digest: The piece's own digest.
        reference: The piece that its chunks are encoded against; None if they stand alone. A piece
            that equals its reference has no chunks.
        chunks: In order of the decoded bytes.
    """

    digest: Digest
    reference: Digest | None
    chunks: tuple[Chunk, ...]

    @property
    def is_unchanged(self) -> bool:
        """Whether the piece equals its reference, so that nothing is stored for it."""
        return self.reference == self.digest and not self.chunks

    @property
    def packs(self) -> frozenset[Digest]:
        """The packs that contain its chunks."""
        return frozenset(chunk.pack for chunk in self.chunks)

    @property
    def size_bytes(self) -> int:
        """Decoded bytes of its chunks."""
        return sum(chunk.size_bytes for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Chain:
    """A piece with all stored pieces needed to decode it.

    Attributes:
        pieces: The piece, its reference, the reference of that one, …, until one stands alone or
            refers to the base.
    """

    pieces: tuple[StoredPiece, ...]

    @property
    def piece(self) -> StoredPiece:
        """The piece at its beginning."""
        return self.pieces[0]

    @property
    def outside(self) -> Digest | None:
        """The base tensor at its end; None if the last piece stands alone."""
        return self.pieces[-1].reference

    @property
    def depth(self) -> int:
        """How many references lead to its end: 0 for none, 1 against the base."""
        return len(self.pieces) - (self.outside is None)

    @property
    def packs(self) -> frozenset[Digest]:
        """The packs that contain any of its chunks."""
        return frozenset[Digest]().union(*(piece.packs for piece in self.pieces))

    def encode(self) -> bytes:
        """Encode the chain alone, to find the piece again in another push."""
        first, *below = self.pieces
        entry = _piece_json(first, None)
        if below:
            entry["below"] = [[str(p.digest), _piece_json(p, None)] for p in below]
        return canonical_json(entry)

    @classmethod
    def decode(cls, digest: Digest, raw: bytes) -> Self:
        """Read the output of `encode`.

        Raises:
            Refused: It is not an encoded chain.
        """
        entry = strict_json_object(raw, code="header")
        below = entry.get("below", [])
        if not is_list(below):
            raise _build_refusal(f"piece {digest} has odd references")
        pieces = [_piece(digest, entry, None)]
        for item in below:
            if not is_list(item) or len(item) != 2 or item[0] != str(pieces[-1].reference):
                raise _build_refusal(f"piece {digest} has odd references")
            pieces.append(_piece(Digest.parse(str(item[0])), item[1], None))
        return cls(tuple(pieces))


@dataclass(frozen=True, slots=True)
class StorageMap:
    """All pieces of a manifest, the pieces needed to decode them, and the packs that contain them.

    A map is complete: a piece encoded against a tensor of an earlier version comes with that tensor
    as stored, and so on down to the base or to a piece that stands alone.
    """

    packs: tuple[PackRef, ...]
    pieces: Mapping[Digest, StoredPiece]

    def encode(self) -> bytes:
        """Encode compact JSON; chunks name their pack by its index."""
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
            raise _build_refusal(f"it is not {SCHEMA}")
        if not is_object(pieces):
            raise _build_refusal("pieces is not an object")
        refs = tuple(_pack(item) for item in packs)
        sizes = {pack.digest: pack.size_bytes for pack in refs}
        parsed = (_piece(_digest(d), item, refs) for d, item in pieces.items())
        by_digest = {piece.digest: piece for piece in parsed}
        for piece in by_digest.values():
            for chunk in piece.chunks:
                if chunk.offset + chunk.length > sizes[chunk.pack]:
                    raise _build_refusal(f"a chunk of {piece.digest} lies outside its pack")
        return cls(refs, by_digest)

    @property
    def outside(self) -> frozenset[Digest]:
        """The base tensors that some piece refers to."""
        references = {p.reference for p in self.pieces.values() if p.reference is not None}
        return frozenset(digest for digest in references if self.find(digest) is None)

    def find(self, digest: Digest) -> StoredPiece | None:
        """Return a piece that is stored here; None if it is the base's or unknown."""
        piece = self.pieces.get(digest)
        return None if piece is None or piece.is_unchanged else piece

    def chain(self, digest: Digest) -> Chain:
        """Return a piece of the map with everything needed to decode it.

        Raises:
            Refused: The piece is not in the map, its references are too many, or they form a cycle.
        """
        piece = self.pieces.get(digest)
        if piece is None:
            raise _build_refusal(f"piece {digest} is not stored")
        links: list[StoredPiece] = []
        while piece is not None:
            links.append(piece)
            chain = Chain(tuple(links))
            if chain.depth > DEPTH_MAX:
                raise _build_refusal(f"piece {digest} has more than {DEPTH_MAX} references below it")
            piece = None if chain.outside is None else self.find(chain.outside)
        return Chain(tuple(links))

    def stored_bytes(self, digests: Iterable[Digest]) -> int:
        """Return the sum of the encoded bytes of pieces, each place in a pack counted once.

        Pieces that only serve as references belong to the version that brought them.
        """
        pieces = (self.pieces[digest] for digest in digests)
        places = {(c.pack, c.offset): c.length for piece in pieces for c in piece.chunks}
        return sum(places.values())

    def check_covers(self, manifest: Manifest, base: Iterable[Digest]) -> None:
        """Check that every piece of the manifest can be rebuilt from this map and the base.

        For a piece that only serves as a reference the map has no dtype or shape: only its size is
        compared with the piece that needs it. Decoding proves the rest.

        Args:
            manifest: The manifest that must be rebuilt.
            base: Digests of the base's tensors, allowed as references.

        Raises:
            Refused: A piece is missing, has the wrong length, needs another piece or too many, or
                is not needed.
        """
        base_digests = frozenset(base)
        needed: set[Digest] = set()
        for digest, expected in manifest.pieces().items():
            chain = self.chain(digest)
            if chain.outside is not None and chain.outside not in base_digests:
                raise _build_refusal(f"piece {digest} refers to {chain.outside}, not of the base")
            for piece in chain.pieces:
                if not piece.is_unchanged and piece.size_bytes != expected.size_bytes:
                    sizes = f"{piece.size_bytes} bytes, not {expected.size_bytes}"
                    raise _build_refusal(f"piece {piece.digest} has {sizes}")
                needed.add(piece.digest)
        extra = self.pieces.keys() - needed
        if extra:
            raise _build_refusal(f"piece {min(extra)} is not of this version")


def _build_refusal(message: str) -> Refused:
    return Refused([Problem("header", f"storage map: {message}", fix="push it with a current client")])


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidInput as error:
        raise _build_refusal(error.message) from error


def _piece_json(piece: StoredPiece, index: Mapping[Digest, int] | None) -> dict[str, object]:
    chunks = [
        [str(c.pack) if index is None else index[c.pack], c.offset, c.length, c.codec, c.size_bytes, f"{c.check:016x}"]
        for c in piece.chunks
    ]
    reference = None if piece.reference is None else str(piece.reference)
    return {"reference": reference, "chunks": chunks}


def _pack(item: object) -> PackRef:
    if not is_list(item) or len(item) != 2:
        raise _build_refusal("a pack is not [digest, size]")
    digest, size = item
    if not isinstance(digest, str) or not is_count(size, below=1 << 40) or size == 0:
        raise _build_refusal("a pack is not [digest, size]")
    return PackRef(_digest(digest), size)


def _piece(digest: Digest, item: object, packs: tuple[PackRef, ...] | None) -> StoredPiece:
    entries = item.get("chunks") if is_object(item) else None
    if not is_object(item) or not is_list(entries):
        raise _build_refusal(f"piece {digest} has no chunks")
    reference = item.get("reference")
    if reference is not None and not isinstance(reference, str):
        raise _build_refusal(f"piece {digest} has an odd reference")
    chunks = tuple(_chunk(c, packs) for c in entries)
    return StoredPiece(digest, None if reference is None else _digest(reference), chunks)


def _chunk(item: object, packs: tuple[PackRef, ...] | None) -> Chunk:
    if not is_list(item) or len(item) != 6:
        raise _build_refusal("a chunk does not have six fields")
    pack, *numbers, check = item
    if not isinstance(check, str) or len(check) != 16 or set(check) - set("0123456789abcdef"):
        raise _build_refusal("a chunk's check value is not 16 hex digits")
    counts = [n for n in numbers if is_count(n, below=1 << 40)]
    if len(counts) != 4:
        raise _build_refusal("a chunk holds something that is not a count")
    if packs is None:
        where = _digest(str(pack))
    elif is_count(pack, below=len(packs)):
        where = packs[pack].digest
    else:
        raise _build_refusal("a chunk names no pack")
    return Chunk(where, counts[0], counts[1], counts[2], counts[3], int(check, 16))
