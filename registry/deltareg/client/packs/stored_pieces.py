"""What the server stores already and an upload may build on: pieces with all that they need."""

from collections.abc import Iterable, Mapping

from deltareg.digest import Digest
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import Chain, PackRef, StorageMap, StoredPiece
from deltareg.wire import UploadInfo


class ReusablePieces:
    """Stored pieces, each in one place: chains that name two places for a piece do not mix.

    So whatever is put together from them is as deep as each chain was alone, and never goes round.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._pieces: dict[Digest, StoredPiece] = {}
        self._packs: dict[Digest, PackRef] = {}

    def add(self, chain: Chain, packs: Mapping[Digest, PackRef]) -> bool:
        """Take a piece with what it needs; False when another place is taken for one of them.

        Args:
            chain: The piece.
            packs: At least the packs that it lies in.
        """
        if any(self._pieces.get(piece.digest, piece) != piece for piece in chain.pieces):
            return False
        self._pieces |= {piece.digest: piece for piece in chain.pieces}
        self._packs |= {digest: packs[digest] for digest in chain.packs}
        return True

    def __contains__(self, digest: Digest) -> bool:
        """Whether a piece is here."""
        return digest in self._pieces

    def storage_map(
        self, manifest: Manifest, pieces: Mapping[Digest, StoredPiece], packs: Iterable[PackRef]
    ) -> StorageMap:
        """Make the map of a version: what was encoded for it, and what of this it needs.

        Args:
            manifest: The version.
            pieces: What was encoded.
            packs: Where.
        """
        everything = StorageMap((), {**self._pieces, **pieces})
        chains = map(everything.chain, manifest.pieces())
        needed_pieces = {piece.digest: piece for chain in chains for piece in chain.pieces}
        refs = self._packs | {ref.digest: ref for ref in packs}
        pack_digests = dict.fromkeys(chunk.pack for piece in needed_pieces.values() for chunk in piece.chunks)
        return StorageMap(tuple(refs[digest] for digest in pack_digests), needed_pieces)


def stored_of(upload: UploadInfo) -> ReusablePieces:
    """Take what the server offers to an upload."""
    reusable = ReusablePieces()
    packs = pack_refs(upload)
    for text, entry in sorted(upload.known.items()):
        reusable.add(Chain.decode(Digest.parse(text), entry.encode()), packs)
    return reusable


def pack_refs(upload: UploadInfo) -> dict[Digest, PackRef]:
    """Give the packs that the offered pieces lie in."""
    refs = [PackRef(Digest.parse(pack.digest), pack.size_bytes) for pack in upload.known_packs]
    return {ref.digest: ref for ref in refs}
