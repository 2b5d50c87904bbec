"""Names that lines, channels and namespaces had: they lead to them still."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import created_at, created_by, member, metadata, required_row

line_aliases = sa.Table(
    "line_aliases",
    metadata,
    member("namespace_id", "namespaces.id"),
    sa.Column("name", sa.Text, primary_key=True),
    required_row("delta_id", "deltas.id"),
    created_at(),
    created_by(),
    sa.Index(None, "delta_id"),
)

channel_aliases = sa.Table(
    "channel_aliases",
    metadata,
    member("delta_id", "deltas.id"),
    sa.Column("name", sa.Text, primary_key=True),
    required_row("channel_id", "channels.id"),
    created_at(),
    created_by(),
    sa.Index(None, "channel_id"),
)

namespace_aliases = sa.Table(
    "namespace_aliases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    required_row("namespace_id", "namespaces.id"),
    created_at(),
    created_by(),
    sa.Index(None, "namespace_id"),
)
