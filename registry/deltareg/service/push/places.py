"""The places of the pieces of a push, so that other pushes in the namespace need not send them.

The places are computed before the transaction that writes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.storage import packs as queries
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap


@dataclass(frozen=True, slots=True)
class PieceLocation:
    """The place of a piece.

    Attributes:
        digest: The piece's digest.
        base_root: The root of the base that its reference belongs to; empty if it stands alone.
        entry: Its whole chain, as its row stores it.
        packs: The digests of the packs that the chain lies in, sorted.
    """

    digest: str
    base_root: str
    entry: bytes
    packs: tuple[str, ...]


def places_of(manifest: Manifest, storage: StorageMap, reference_root: str) -> list[PieceLocation]:
    """Return the places of a manifest's own pieces, each with its whole chain."""
    chains = map(storage.chain, manifest.pieces())
    return [
        PieceLocation(
            digest=str(chain.piece.digest),
            base_root="" if chain.outside is None else reference_root,
            entry=queries.pack_entry(chain.encode()),
            packs=tuple(sorted(str(pack) for pack in chain.packs)),
        )
        for chain in chains
        if chain.piece.chunks
    ]


def record_places(
    conn: sa.Connection, scope: str, places: Sequence[PieceLocation], pack_ids: Mapping[str, int]
) -> None:
    """Store places, given the row ids of packs by digest; pieces in other packs are left out."""
    pieces = (
        queries.FoundPiece(place.digest, place.base_root, place.entry, [pack_ids[pack] for pack in place.packs])
        for place in places
        if pack_ids.keys() >= set(place.packs)
    )
    queries.record_pieces(conn, scope, pieces)
