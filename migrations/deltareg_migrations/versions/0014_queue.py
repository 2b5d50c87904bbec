"""The queue takes turns between namespaces, and runs have a log.

Runs that wait keep the order that they had: all have turn 0, and the oldest goes first.
"""

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ACTIVE = sa.text("state IN ('queued', 'running')")
SERVED = sa.text("started_at IS NOT NULL")
BY_AGE = [sa.text("priority DESC"), sa.text("created_at"), sa.text("id")]
BY_TURN = [sa.text("priority DESC"), sa.text("turn"), sa.text("created_at"), sa.text("id")]


def upgrade() -> None:
    drop_indexes()
    with op.batch_alter_table("runs") as batch:
        batch.add_column(sa.Column("namespace_id", ROW_ID))
        batch.add_column(sa.Column("turn", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
        keep_default(batch)
        batch.create_foreign_key("fk_runs_namespace_id", "namespaces", ["namespace_id"], ["id"])
    create_indexes(BY_TURN)
    create_index("ix_runs_lane", [sa.text(n) for n in ("namespace_id", "priority", "turn")], ACTIVE)
    create_index("ix_runs_served", [sa.text(n) for n in ("priority", "turn")], SERVED)
    op.create_table(
        "run_log",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_log_run_id"),
        sa.PrimaryKeyConstraint("run_id", "seq", name="pk_run_log"),
    )


def downgrade() -> None:
    op.drop_table("run_log")
    op.drop_index("ix_runs_served", "runs")
    op.drop_index("ix_runs_lane", "runs")
    drop_indexes()
    with op.batch_alter_table("runs") as batch:
        batch.drop_constraint("fk_runs_namespace_id", type_="foreignkey")
        keep_default(batch)
        batch.drop_column("turn")
        batch.drop_column("namespace_id")
    create_indexes(BY_AGE)


def keep_default(batch: BatchOperations) -> None:
    """Spell the default of a text as it was: SQLite gives it back in brackets."""
    batch.alter_column("suite", existing_type=sa.Text(), existing_nullable=False, server_default="")


def drop_indexes() -> None:
    """Drop what SQLite's copy of the table would not carry over: a partial index, a descending."""
    op.drop_index("ix_runs_to_claim", "runs")
    op.drop_index("uq_runs_active_dedup_key", "runs")


def create_indexes(order: list[sa.TextClause]) -> None:
    create_index("ix_runs_to_claim", order, ACTIVE)
    op.create_index(
        "uq_runs_active_dedup_key", "runs", ["dedup_key"], unique=True, sqlite_where=ACTIVE, postgresql_where=ACTIVE
    )


def create_index(name: str, columns: list[sa.TextClause], where: sa.TextClause) -> None:
    op.create_index(name, "runs", columns, sqlite_where=where, postgresql_where=where)
