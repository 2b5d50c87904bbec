"""Logs of runs that ended long ago are dropped, and that they were is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dropped_logs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_dropped_logs_run_id"),
        sa.PrimaryKeyConstraint("run_id", name="pk_dropped_logs"),
    )
    op.create_index("ix_run_log_created_at", "run_log", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_run_log_created_at", "run_log")
    op.drop_table("dropped_logs")
