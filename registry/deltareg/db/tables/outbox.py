"""Events: one row for each row of the audit trail, and the process that delivers them."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import RowId, created_at, metadata, required_row, row_id, text

# What was done, by whom and to what stands in the audit row. Here is what that does not say: which
# namespace and which delta it is about. A row gets its number once it is committed; numbers have no
# gaps and grow in the order in which events are told. `type` is empty where nobody is told. Rows
# leave when they are old (ADR 29, ADR 58).
outbox = sa.Table(
    "outbox",
    metadata,
    row_id(),
    required_row("audit_id", "audit.id"),
    sa.Column("namespace", sa.Text),
    sa.Column("line", sa.Text),
    created_at(),
    sa.Column("number", sa.BigInteger),
    sa.Column("type", sa.Text),
    sa.Column("subject", sa.Text),
    sa.CheckConstraint("line IS NULL OR namespace IS NOT NULL", name="line"),
    sa.UniqueConstraint("audit_id"),
    sa.Index("ix_outbox_number", "number", unique=True),
    sa.Index(
        "ix_outbox_waiting",
        "audit_id",
        sqlite_where=sa.text("number IS NULL"),
        postgresql_where=sa.text("number IS NULL"),
    ),
)

# The one row with the id 1: the last number, and which process delivers to webhooks until when.
event_head = sa.Table(
    "event_head",
    metadata,
    sa.Column("id", RowId, primary_key=True, autoincrement=False),
    text("source"),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text),
    sa.Column("held_until", sa.BigInteger, nullable=False),
)
