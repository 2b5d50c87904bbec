"""Waivers: somebody answers for a failed check of a verdict, for a while."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import (
    count,
    created_at,
    metadata,
    optional,
    required,
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
    required("actor_id", "principals.id"),
    time("revoked_at"),
    optional("revoked_by", "principals.id"),
    sa.CheckConstraint("reason <> ''", name="reason"),
    sa.Index(None, "verdict_id"),
)
