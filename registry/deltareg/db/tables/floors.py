"""Floors: policies of the server and of namespaces, which apply to every channel."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import Json, created_at, created_by, metadata, optional_row, row_id, text

# Of a namespace the newest row holds, and of those without one, which are the server's.
# Append-only.
floors = sa.Table(
    "floors",
    metadata,
    row_id(),
    optional_row("namespace_id", "namespaces.id"),
    sa.Column("policy", Json, nullable=False),
    text("reason"),
    created_at(),
    created_by(),
    sa.Index(None, "namespace_id", "id"),
)
