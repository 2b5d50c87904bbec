"""What a version or base offers to other pushes of its namespace, so that they need not send it again.

Where its pieces lie stands in its storage map; it is found by marks of its pieces. Up to 64 pieces,
and more of large versions, all have one. Of more, those have that a draw by size takes: a version
that has some pieces in common is found by any mark among them, and then all of them are. So a push
sends again what another version has only where they have nearly nothing in common
(docs/adr/0116-what-a-version-costs.md has the bound).
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Final

import sqlalchemy as sa

from deltareg.db.sql.document import StoredDocuments
from deltareg.db.storage import offers as queries
from deltareg.db.storage import packs as pack_queries
from deltareg.db.storage import proofs
from deltareg.digest import Digest
from deltareg.errors import DeltaregError
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import Chain, StorageMap
from deltareg.service.digest_cache import decode_manifest
from deltareg.service.push.subject import ProofSubject, subject_of

_LEAST: Final = 64
_BYTES_A_MARK: Final = 4 << 20
_MOST_OFFERS: Final = 64
_BITS: Final = 63


def marks_of(manifest: Manifest, storage: StorageMap) -> frozenset[int]:
    """Return the marks by which the pieces of a manifest are found.

    A draw by size: with u uniform in (0, 1] by its digest, those pieces are taken whose u / size is
    least (priority sampling; Duffield, Lund and Thorup 2007, Journal of the ACM 54(6)).
    """
    sizes = {
        mark_of(digest): piece.size_bytes
        for digest, piece in manifest.pieces().items()
        if (stored := storage.pieces.get(digest)) is not None and stored.chunks
    }
    most = max(_LEAST, sum(sizes.values()) // _BYTES_A_MARK)
    drawn = sorted(sizes, key=lambda mark: ((mark + 1) / max(sizes[mark], 1), mark))
    return frozenset(drawn[:most])


def mark_of(digest: Digest) -> int:
    """Return the first 63 bits of a digest."""
    return int(str(digest).partition(":")[2][:16], 16) >> (64 - _BITS)


def offer_pieces(conn: sa.Connection, subject: ProofSubject, marks: Iterable[int]) -> None:
    """Offer the pieces of a version or base that is proven."""
    queries.put_offer(conn, subject.held, queries.space_of(conn, subject.scope), marks)


def find_known(conn: sa.Connection, scope: str, digests: Collection[Digest], base_root: str) -> dict[Digest, Chain]:
    """Find pieces that a push for a base need not send, with all that is needed to decode them.

    A piece that stands alone is preferred to one that is encoded against the base. Whether their
    packs are sound is left to the caller.
    """
    asked = {mark_of(digest): digest for digest in digests}
    found: dict[Digest, Chain] = {}
    hits: dict[int, tuple[queries.OfferRow, set[Digest]]] = {}
    space = queries.space_of(conn, scope)
    for row in queries.find_offers(conn, space, asked):
        hits.setdefault(row.id, (row, set()))[1].add(asked[queries.mark_in(space, row.mark)])
    for row, hit in list(hits.values())[:_MOST_OFFERS]:
        if all(digest in found and found[digest].outside is None for digest in hit):
            continue
        with suppress(DeltaregError):  # what cannot be read is sent anew
            for digest, chain in _chains_in(conn, row, digests, scope=scope, base_root=base_root).items():
                known = found.get(digest)
                if known is None or (known.outside is not None and chain.outside is None):
                    found[digest] = chain
    return found | _find_recorded(conn, scope, [digest for digest in digests if digest not in found], base_root)


def _find_recorded(conn: sa.Connection, scope: str, digests: Iterable[Digest], base_root: str) -> dict[Digest, Chain]:
    """Find pieces that a server of the release before recorded, and upkeep has not offered yet."""
    found: dict[Digest, Chain] = {}
    for name, entry in pack_queries.known_pieces(conn, scope, map(str, digests), base_root).items():
        with suppress(DeltaregError):  # a row that is damaged: the piece is sent anew
            found[Digest.parse(name)] = Chain.decode(Digest.parse(name), entry)
    return found


def _chains_in(
    conn: sa.Connection, row: queries.OfferRow, digests: Iterable[Digest], *, scope: str, base_root: str
) -> Mapping[Digest, Chain]:
    subject = subject_of(conn, row.held)
    if subject.scope != scope:  # it has moved to another namespace
        return {}
    documents: StoredDocuments = proofs.content(conn, row.held)
    own = decode_manifest(str(Manifest.digest_of(documents.manifest)), lambda: documents.manifest).pieces()
    storage = StorageMap.decode(documents.storage_map)
    chains: dict[Digest, Chain] = {}
    for digest in digests:
        piece = storage.pieces.get(digest) if digest in own else None
        if piece is None or not piece.chunks:
            continue
        chain = storage.chain(digest)
        if chain.outside is None or subject.reference_root == base_root:
            chains[digest] = chain
    return chains
