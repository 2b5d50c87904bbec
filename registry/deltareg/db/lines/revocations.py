"""Revoked versions: by whom, why, and how a revocation ended."""

from collections.abc import Iterable

import sqlalchemy as sa

from deltareg.db.lines.version_rows import RevocationRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_each
from deltareg.db.sql.upsert import batches
from deltareg.db.tables import principals, revocations, versions


def revoke(conn: sa.Connection, version_id: int, *, actor_id: int, reason: str) -> None:
    """Revoke a version that the caller has locked and that is not revoked."""
    conn.execute(sa.insert(revocations).values(version_id=version_id, actor_id=actor_id, reason=reason))
    _mark(conn, version_id, revoked_at=now_us())


def unrevoke(conn: sa.Connection, version_id: int, *, ended_by: int, reason: str) -> None:
    """End the revocation of a version that the caller has locked; the row stays."""
    conn.execute(
        sa.update(revocations)
        .where(revocations.c.version_id == version_id, revocations.c.ended_at.is_(None))
        .values(ended_at=now_us(), ended_by=ended_by, end_reason=reason)
    )
    _mark(conn, version_id, revoked_at=sa.null())


def standing_revocations(conn: sa.Connection, version_ids: Iterable[int]) -> dict[int, RevocationRow]:
    """Return the standing revocations, by version: reason, created_at, actor."""
    by_version: dict[int, RevocationRow] = {}
    for part in batches(sorted(set(version_ids))):
        query = (
            sa.select(revocations, principals.c.name.label("actor"))
            .join(principals, principals.c.id == revocations.c.actor_id)
            .where(revocations.c.version_id.in_(part), revocations.c.ended_at.is_(None))
        )
        by_version |= {row.version_id: row for row in fetch_each(conn, query, RevocationRow)}
    return by_version


def _mark(conn: sa.Connection, version_id: int, *, revoked_at: sa.ColumnElement[int] | sa.Null) -> None:
    update = sa.update(versions).where(versions.c.id == version_id)
    conn.execute(update.values(revoked_at=revoked_at))
