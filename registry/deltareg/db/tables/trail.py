"""The audit trail as a log: rows that wait to be sealed, leaves, nodes, signed checkpoints.

All tables but that of waiting rows are append-only; the migration adds the triggers. It also adds
the trigger that makes every new row of the audit trail wait, whoever inserts it.
"""

import sqlalchemy as sa

from deltareg.db.sql.envelope import EnvelopeColumn
from deltareg.db.tables.metadata import RowId, member, metadata, text

# Rows of the audit trail that are in no batch yet.
unsealed = sa.Table("unsealed", metadata, member("audit_id", "audit.id"))

# Which log it is. There is one, with the id 1; who seals holds its row.
log_origins = sa.Table(
    "log_origins", metadata, sa.Column("id", RowId, primary_key=True, autoincrement=False), text("origin")
)

# A row is a signed note over as many leaves as its size says.
log_checkpoints = sa.Table(
    "log_checkpoints", metadata, sa.Column("size", RowId, primary_key=True, autoincrement=False), text("note")
)

log_leaves = sa.Table(
    "log_leaves",
    metadata,
    sa.Column("position", RowId, primary_key=True, autoincrement=False),
    sa.Column("audit_id", RowId, sa.ForeignKey("audit.id"), nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("sealed_by", RowId, sa.ForeignKey("log_checkpoints.size"), nullable=False),  # the checkpoint of its batch
    sa.UniqueConstraint("audit_id"),
)

# Hashes of complete subtrees: of 256 leaves at level 1, of 65,536 at level 2 and so on.
log_nodes = sa.Table(
    "log_nodes",
    metadata,
    sa.Column("level", RowId, primary_key=True, autoincrement=False),
    sa.Column("number", RowId, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
)

# What the server signed about a row when it sealed it: moves of channels, revocations.
log_statements = sa.Table(
    "log_statements", metadata, member("audit_id", "audit.id"), sa.Column("body", EnvelopeColumn(), nullable=False)
)
