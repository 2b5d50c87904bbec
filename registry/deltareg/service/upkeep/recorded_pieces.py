"""Places that a server of the release before recorded piece by piece: what has them offers them now.

It runs in the background, a batch at a time, each its own transaction; until then pushes find
pieces in both ways. A server of the release before, running beside this one, records more of them.
"""

from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa

from deltareg.db.session import read, with_retry
from deltareg.db.storage import proofs
from deltareg.db.storage import recorded as queries
from deltareg.db.storage.shares import PackHolder
from deltareg.errors import DeltaregError, Unavailable
from deltareg.service.push.places import offer_pieces
from deltareg.service.push.proven import DecodedStorage, decode_stored
from deltareg.service.registry import Registry

_PIECES = 1_000


def offer_some_pieces(registry: Registry) -> int:
    """Offer what holds some recorded pieces, and forget these; return how many there were."""
    with read(registry.engine) as conn:
        piece_ids = queries.recorded_some(conn, limit=_PIECES)
        holders = queries.proven_with(conn, piece_ids) if piece_ids else []
    found = [stored for held in holders if (stored := _read(registry, held)) is not None]
    return with_retry(registry.engine, partial(_offer, found=found, piece_ids=piece_ids)) if piece_ids else 0


def _read(registry: Registry, held: PackHolder) -> DecodedStorage | None:
    """Read how something is stored; what cannot be read offers nothing."""
    try:
        return decode_stored(registry, held)
    except Unavailable:
        raise
    except DeltaregError:  # fsck tells of it
        return None


def _offer(conn: sa.Connection, found: Sequence[DecodedStorage], piece_ids: Sequence[int]) -> int:
    """Offer the pieces of what is still proven as it was read."""
    for stored in found:
        now = proofs.standing(conn, stored.subject.held, lock=True)
        if now.is_proven and now.storage_revision == stored.revision:
            offer_pieces(conn, stored.subject, stored.marks)
    return queries.forget_recorded(conn, piece_ids)
