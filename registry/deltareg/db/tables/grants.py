"""Who holds which role where, who stands behind a script, and when visibility changed."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import (
    RowId,
    count,
    created_at,
    created_by,
    member,
    metadata,
    one_of,
    optional_row,
    required_row,
    row_id,
    text,
    time,
)
from deltareg.words import ROLES

_LIVE_EVERYWHERE = sa.text("ended_at IS NULL AND namespace_id IS NULL")
_LIVE_WITHIN = sa.text("ended_at IS NULL AND namespace_id IS NOT NULL")

# A grant ends and never changes otherwise, and none is deleted; the migration adds the triggers.
grants = sa.Table(
    "grants",
    metadata,
    row_id(),
    required_row("principal_id", "principals.id"),
    optional_row("namespace_id", "namespaces.id"),
    text("role"),
    sa.Column("pattern", sa.Text, nullable=False, server_default=""),
    sa.Column("is_legacy", sa.Boolean, nullable=False, server_default=sa.false()),
    created_at(),
    created_by(),
    time("ended_at"),
    optional_row("ended_by", "principals.id"),
    sa.CheckConstraint("pattern = '' OR namespace_id IS NOT NULL", name="pattern"),
    one_of("role", *ROLES),
    sa.Index(
        "uq_grants_everywhere",
        "principal_id",
        "role",
        unique=True,
        sqlite_where=_LIVE_EVERYWHERE,
        postgresql_where=_LIVE_EVERYWHERE,
    ),
    sa.Index(
        "uq_grants_within",
        "principal_id",
        "namespace_id",
        "role",
        "pattern",
        unique=True,
        sqlite_where=_LIVE_WITHIN,
        postgresql_where=_LIVE_WITHIN,
    ),
    sa.Index(None, "namespace_id"),
    sa.Index(None, "principal_id"),
)

# Append-only: who stands behind a principal is said once.
stand_ins = sa.Table(
    "stand_ins",
    metadata,
    member("principal_id", "principals.id"),
    required_row("person_id", "principals.id"),
    created_at(),
)

# One row, counted up whenever a namespace becomes as visible as it was not: its lock makes those
# who change that take turns, so that a number never stands for two states.
visibility_epochs = sa.Table("visibility_epochs", metadata, sa.Column("id", RowId, primary_key=True), count("number"))
