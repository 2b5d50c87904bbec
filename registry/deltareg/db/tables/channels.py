"""Channels, their append-only ledgers of revisions, freezes and quarantines."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import (
    Json,
    RowId,
    count,
    created_at,
    member,
    metadata,
    one_of,
    optional_row,
    required_row,
    row_id,
    text,
    time,
)
from deltareg.words import REVISION_KINDS

channels = sa.Table(
    "channels",
    metadata,
    row_id(),
    required_row("delta_id", "deltas.id"),
    text("name"),
    count("revision", default=0),
    sa.Column("policy", Json, nullable=False),
    created_at(),
    time("deleted_at"),
    sa.UniqueConstraint("delta_id", "name"),
)

# Channels that promote what passes by themselves, with who said so and answers for it.
auto_promotions = sa.Table(
    "auto_promotions",
    metadata,
    member("channel_id", "channels.id", ondelete="CASCADE"),
    required_row("principal_id", "principals.id"),
    created_at(),
)

# Append-only: the migration adds triggers that refuse UPDATE and DELETE.
revisions = sa.Table(
    "revisions",
    metadata,
    row_id(),
    required_row("channel_id", "channels.id"),
    count("number"),
    text("kind"),
    optional_row("version_id", "versions.id"),
    sa.Column("digest", sa.Text),
    sa.Column("base_root", sa.Text),
    required_row("actor_id", "principals.id"),
    text("reason"),
    sa.Column("verdict_ids", Json, nullable=False),
    optional_row("previous_version_id", "versions.id"),
    sa.Column("break_glass", sa.Boolean, nullable=False),
    created_at(),
    sa.Column("token_id", RowId),  # which tells the workflow that moved it; NULL: before, or no token
    sa.UniqueConstraint("channel_id", "number"),
    one_of("kind", *REVISION_KINDS),
    sa.CheckConstraint(
        "kind IN ('freeze', 'unfreeze') OR (version_id IS NOT NULL AND digest IS NOT NULL AND base_root IS NOT NULL)",
        name="moved_version",
    ),
    sa.Index(None, "version_id"),
    sa.Index(None, "channel_id", "created_at"),
)

# Those that somebody has to look at are few, and are looked for whenever a channel is shown.
sa.Index(
    "ix_revisions_broken",
    revisions.c.channel_id,
    revisions.c.break_glass,  # the same in all: else SQLite takes an index that has all moves of a channel
    revisions.c.id,
    sqlite_where=sa.text("break_glass IS 1"),
    postgresql_where=sa.text("break_glass IS true"),
)

# When a freeze ends by itself; one without a row lasts until it is ended. Append-only as well.
freezes = sa.Table(
    "freezes",
    metadata,
    row_id(),
    required_row("revision_id", "revisions.id"),
    count("ends_at"),
    sa.UniqueConstraint("revision_id"),
)

quarantines = sa.Table(
    "quarantines",
    metadata,
    row_id(),
    required_row("channel_id", "channels.id"),
    required_row("version_id", "versions.id"),
    required_row("revision_id", "revisions.id"),
    created_at(),
    time("cleared_at"),
    optional_row("cleared_by", "principals.id"),
    sa.Column("clear_reason", sa.Text),
)
sa.Index(
    "uq_quarantines_standing",
    quarantines.c.channel_id,
    quarantines.c.version_id,
    unique=True,
    sqlite_where=quarantines.c.cleared_at.is_(None),
    postgresql_where=quarantines.c.cleared_at.is_(None),
)
