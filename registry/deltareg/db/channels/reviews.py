"""Break-glass moves and their reviews."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.channels.rows import BrokenGlassRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import principals, reviews, revisions, versions


def to_review(conn: sa.Connection, channel_ids: Sequence[int]) -> Sequence[BrokenGlassRow]:
    """List the break-glass moves of channels that have no review yet, oldest first."""
    waits = select_to_review().where(revisions.c.channel_id.in_(channel_ids))
    return fetch_all(conn, waits.order_by(revisions.c.id), BrokenGlassRow)


def select_to_review() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for break-glass moves that have no review yet."""
    return (
        sa.select(
            revisions.c.channel_id,
            revisions.c.number,
            revisions.c.kind,
            revisions.c.reason,
            revisions.c.created_at,
            principals.c.name.label("actor"),
            versions.c.number.label("version"),
        )
        .join(principals, principals.c.id == revisions.c.actor_id)
        .outerjoin(versions, versions.c.id == revisions.c.version_id)
        .outerjoin(reviews, reviews.c.revision_id == revisions.c.id)
        .where(revisions.c.break_glass.is_(True), reviews.c.revision_id.is_(None))
    )


def add_review(conn: sa.Connection, revision_id: int, *, principal_id: int, message: str) -> None:
    """Insert the review of a move; a move has at most one."""
    conn.execute(sa.insert(reviews).values(revision_id=revision_id, principal_id=principal_id, message=message))
