"""Channels that serve a version, with their policies and what they serve."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.channels.floors import floor_columns
from deltareg.db.channels.rows import ServingRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import channels, deltas, namespaces, revisions


def served_channels(
    conn: sa.Connection, *, namespace_id: int | None = None, channel_id: int | None = None, limit: int
) -> Sequence[ServingRow]:
    """List channels that serve a version: all, a namespace's or one; last moved first."""
    query = (
        sa.select(
            channels,
            *floor_columns(),
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            revisions.c.version_id,
        )
        .join(
            revisions,
            sa.and_(
                revisions.c.channel_id == channels.c.id,
                revisions.c.number == channels.c.revision,
                channels.c.deleted_at.is_(None),
            ),
        )
        .join(deltas, deltas.c.id == channels.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(revisions.c.version_id.is_not(None))
        .order_by(revisions.c.created_at.desc(), revisions.c.id.desc())
        .limit(limit)
    )
    if namespace_id is not None:
        query = query.where(deltas.c.namespace_id == namespace_id)
    if channel_id is not None:
        query = query.where(channels.c.id == channel_id)
    return fetch_all(conn, query, ServingRow)
