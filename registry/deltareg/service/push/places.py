"""Where the pieces of a push are, so that another push of the namespace need not send them.

What is written is worked out before the transaction that writes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.storage import packs as queries
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap


@dataclass(frozen=True, slots=True)
class PieceLocation:
    """Where a piece is.

    Attributes:
        digest: The piece's digest.
        base_root: The base that its reference belongs to; empty when it stands alone.
        entry: Its whole chain, as its row keeps it.
        packs: The digests of the packs that the chain lies in, sorted.
    """

    digest: str
    base_root: str
    entry: bytes
    packs: tuple[str, ...]


def places_of(manifest: Manifest, storage: StorageMap, reference_root: str) -> list[PieceLocation]:
    """Give the places of a manifest's own pieces, each with its whole chain."""
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
    """Remember places, given the rows of packs by digest; one in another pack is left out."""
    found = (
        queries.FoundPiece(place.digest, place.base_root, place.entry, [pack_ids[pack] for pack in place.packs])
        for place in places
        if pack_ids.keys() >= set(place.packs)
    )
    queries.record_pieces(conn, scope, found)
