"""What is left of versions whose bytes are gone: what they were found by, and how they were stored."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.tables import (
    cards,
    forms,
    offer_marks,
    offers,
    search_terms,
    version_metrics,
    version_weights,
    versions,
    weight_marks,
)
from deltareg.identity.storage_map import StorageMap

_READ_OUT: Final = (cards, search_terms, version_metrics, version_weights, weight_marks)
_NO_MAP: Final = StorageMap((), {}).encode()


def put_away_some(conn: sa.Connection, *, limit: int) -> Sequence[int]:
    """Drop what was read out of some versions that collection has released; return which.

    Their rows stay, with the manifest, verdicts, ledgers and the trail.
    """
    waiting = (
        sa.select(versions.c.id)
        .where(versions.c.released_at.is_not(None), versions.c.put_away_at.is_(None))
        .order_by(versions.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = conn.execute(waiting).scalars().all()
    if not ids:
        return ids
    for table in _READ_OUT:
        conn.execute(sa.delete(table).where(table.c.version_id.in_(ids)))
    conn.execute(
        sa.update(forms).where(forms.c.version_id.in_(ids), forms.c.ended_at.is_not(None)).values(storage_map=_NO_MAP)
    )
    gone = {"storage_map": _NO_MAP, "put_away_at": now_us()}
    conn.execute(sa.update(versions).where(versions.c.id.in_(ids)).values(**gone))
    return ids


def drop_marks(conn: sa.Connection, *, limit: int) -> int:
    """Drop the marks of some offers that are no more; return how many marks there were."""
    is_offered = sa.exists().where(offers.c.id == offer_marks.c.offer_id)
    stale = sa.select(offer_marks.c.offer_id).where(~is_offered).distinct().limit(limit)
    ids = conn.execute(stale).scalars().all()
    return conn.execute(sa.delete(offer_marks).where(offer_marks.c.offer_id.in_(ids))).rowcount if ids else 0
