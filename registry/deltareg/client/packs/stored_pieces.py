"""What an upload may build on: pieces that the server has, with everything that they need."""

from collections.abc import Collection, Iterable, Mapping

from deltareg.digest import Digest
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import Chain, PackRef, StorageMap, StoredPiece
from deltareg.wire import UploadInfo


class ReusablePieces:
    """Stored pieces, each in one place; chains that disagree on a piece's place do not mix.

    So a map built from them is no deeper than each chain was alone, and has no cycles.
    """

    def __init__(self) -> None:
        """Begin with no pieces."""
        self._pieces: dict[Digest, StoredPiece] = {}
        self._packs: dict[Digest, PackRef] = {}

    def add(self, chain: Chain, packs: Mapping[Digest, PackRef]) -> bool:
        """Add a piece with what it needs; return false if one of them has another place already.

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

    def chain(self, digest: Digest) -> Chain:
        """Return a piece that is here, with everything needed to decode it."""
        return StorageMap((), self._pieces).chain(digest)

    @property
    def packs(self) -> Collection[PackRef]:
        """The packs that the pieces lie in."""
        return self._packs.values()

    def storage_map(
        self, manifest: Manifest, pieces: Mapping[Digest, StoredPiece], packs: Iterable[PackRef]
    ) -> StorageMap:
        """Build a version's storage map from newly encoded pieces and the stored ones it needs.

        Args:
            manifest: The version.
            pieces: The newly encoded pieces.
            packs: The packs that they lie in.
        """
        everything = StorageMap((), {**self._pieces, **pieces})
        chains = map(everything.chain, manifest.pieces())
        needed_pieces = {piece.digest: piece for chain in chains for piece in chain.pieces}
        refs = self._packs | {ref.digest: ref for ref in packs}
        pack_digests = dict.fromkeys(chunk.pack for piece in needed_pieces.values() for chunk in piece.chunks)
        return StorageMap(tuple(refs[digest] for digest in pack_digests), needed_pieces)


def stored_of(upload: UploadInfo) -> ReusablePieces:
    """Return the pieces that the server offers to an upload."""
    reusable = ReusablePieces()
    packs = pack_refs(upload)
    for text, entry in sorted(upload.known.items()):
        reusable.add(Chain.decode(Digest.parse(text), entry.encode()), packs)
    return reusable


def pack_refs(upload: UploadInfo) -> dict[Digest, PackRef]:
    """Return the packs that the offered pieces lie in."""
    refs = [PackRef(Digest.parse(pack.digest), pack.size_bytes) for pack in upload.known_packs]
    return {ref.digest: ref for ref in refs}
