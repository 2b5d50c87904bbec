"""The audit trail is a log: rows are sealed in batches, under checkpoints that the server signs.

Rows of before wait to be sealed with the first batches.
"""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import append_only, drop_append_only, drop_functions, drop_triggers, follow

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEPT = ("log_statements", "log_nodes", "log_leaves", "log_checkpoints", "log_origins")


def upgrade() -> None:
    create_log()
    op.create_table(
        "unsealed",
        sa.Column("audit_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audit.id"], name="fk_unsealed_audit_id"),
        sa.PrimaryKeyConstraint("audit_id", name="pk_unsealed"),
    )
    # The trigger first: it waits for all who add rows, and lets nobody add one until the commit.
    follow("audit", "INSERT", "INSERT INTO unsealed (audit_id) VALUES (NEW.id)", name="waits")
    op.execute("INSERT INTO unsealed (audit_id) SELECT id FROM audit")


def downgrade() -> None:
    drop_triggers("audit", "waits")
    drop_functions("audit_waits_follows")
    op.drop_table("unsealed")
    for table in KEPT:
        drop_append_only(table)


def create_log() -> None:
    op.create_table(
        "log_origins",
        sa.Column("id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_origins"),
    )
    op.create_table(
        "log_checkpoints",
        sa.Column("size", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_log_checkpoints"),
    )
    op.create_table(
        "log_leaves",
        sa.Column("position", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("audit_id", ROW_ID, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_by", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audit.id"], name="fk_log_leaves_audit_id"),
        sa.ForeignKeyConstraint(["sealed_by"], ["log_checkpoints.size"], name="fk_log_leaves_sealed_by"),
        sa.PrimaryKeyConstraint("position", name="pk_log_leaves"),
        sa.UniqueConstraint("audit_id", name="uq_log_leaves_audit_id"),
    )
    op.create_table(
        "log_nodes",
        sa.Column("level", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("number", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name="pk_log_nodes"),
    )
    op.create_table(
        "log_statements",
        sa.Column("audit_id", ROW_ID, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audit.id"], name="fk_log_statements_audit_id"),
        sa.PrimaryKeyConstraint("audit_id", name="pk_log_statements"),
    )
    for table in KEPT:
        append_only(table)
