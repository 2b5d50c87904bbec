"""Waivers: somebody answers for a failed check of a verdict, on a channel and for some time."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import (
    RowId,
    count,
    created_at,
    metadata,
    optional_row,
    required_row,
    text,
    time,
    uuid_id,
)

# Nothing of a waiver is changed but its end, and none is deleted; the migration adds the triggers.
waivers = sa.Table(
    "waivers",
    metadata,
    uuid_id(),
    sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), nullable=False),
    text("check_name"),
    text("reason"),
    count("expires_at"),
    created_at(),
    required_row("actor_id", "principals.id"),
    time("revoked_at"),
    optional_row("revoked_by", "principals.id"),
    sa.CheckConstraint("reason <> ''", name="reason"),
    sa.Index(None, "verdict_id"),
)

# Where a waiver counts. One that was given before waivers named a channel has none, and counts on
# all. `origin_id` is the waiver that a continuation carried over to its verdict. Append-only.
waiver_channels = sa.Table(
    "waiver_channels",
    metadata,
    sa.Column("waiver_id", sa.Text, sa.ForeignKey("waivers.id"), primary_key=True),
    sa.Column("channel_id", RowId, sa.ForeignKey("channels.id"), nullable=False),
    sa.Column("origin_id", sa.Text, sa.ForeignKey("waivers.id")),
    sa.Index(None, "origin_id"),
)

# Failed verdicts in which every check that the suite requires has shown something all the same.
complete_verdicts = sa.Table(
    "complete_verdicts", metadata, sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), primary_key=True)
)
