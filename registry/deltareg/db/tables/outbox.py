"""Events that are still to be told: a row for each of the audit trail, beside it."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import created_at, metadata, required, row_id

# What was done, by whom and to what stands in the audit row. Here is what that does not say: which
# namespace and which delta it is about. Rows leave once they are told, or are old (ADR 29).
outbox = sa.Table(
    "outbox",
    metadata,
    row_id(),
    required("audit_id", "audit.id"),
    sa.Column("namespace", sa.Text),
    sa.Column("line", sa.Text),
    created_at(),
    sa.CheckConstraint("line IS NULL OR namespace IS NOT NULL", name="line"),
    sa.UniqueConstraint("audit_id"),
)
