"""What is left of versions whose bytes are gone: what they were found by, and how they were stored."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.tables import cards, forms, search_terms, version_metrics, versions, weight_marks
from deltareg.identity.storage_map import StorageMap

_READ_OUT: Final = (search_terms, version_metrics, weight_marks)
_NO_MAP: Final = StorageMap((), {}).encode()


def put_away_some(conn: sa.Connection, *, limit: int) -> Sequence[int]:
    """Drop what was read out of some versions that collection has released; return which.

    Their rows stay, with the manifest, verdicts, ledgers and the trail. Rows that say that a version
    was read stay as well, so that nobody reads it again.
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
    conn.execute(sa.update(cards).where(cards.c.version_id.in_(ids)).values(document=None))
    conn.execute(
        sa.update(forms).where(forms.c.version_id.in_(ids), forms.c.ended_at.is_not(None)).values(storage_map=_NO_MAP)
    )
    gone = {"storage_map": _NO_MAP, "put_away_at": now_us()}
    conn.execute(sa.update(versions).where(versions.c.id.in_(ids)).values(**gone))
    return ids
