"""Evaluations of versions that other systems made and nobody signed, and those withdrawn."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import created_at, created_by, member, metadata, required_row, row_id, text

# As it came. The same may come again, later than another one by the same principal: the newest
# counts. Append-only, as is the table below.
evaluations = sa.Table(
    "evaluations",
    metadata,
    row_id(),
    required_row("version_id", "versions.id"),
    text("digest"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    created_at(),
    created_by(),
    sa.Index(None, "version_id"),
)

withdrawn_evaluations = sa.Table(
    "withdrawn_evaluations",
    metadata,
    member("evaluation_id", "evaluations.id"),
    text("reason"),
    created_at(),
    created_by(),
)
