"""Runs that find something out for people, and what they were asked and found.

Runs of the new kinds are dropped on the way down, with what came of them: the release before does
not know them, and nothing stands on them.
"""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KINDS_BEFORE = ("verify", "reencode", "prove")
KINDS = (*KINDS_BEFORE, "compare", "answer")
OF_RUNS = ("run_log", "dropped_logs", "lease_keys", "waiting_runs")
# What SQLite trips over, or does not carry along, when it writes the table anew.
TRIGGER = "verdicts_bound"
INDEXES = ("ix_runs_served", "ix_runs_lane", "ix_runs_to_claim", "uq_runs_active_dedup_key")


def upgrade() -> None:
    allow(KINDS)
    op.create_table(
        "run_results",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("other_id", ROW_ID),
        sa.Column("asked", sa.LargeBinary(), nullable=False),
        sa.Column("found", sa.LargeBinary()),
        sa.Column("ends_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_results_run_id"),
        sa.ForeignKeyConstraint(["other_id"], ["versions.id"], name="fk_run_results_other_id"),
        sa.PrimaryKeyConstraint("run_id", name="pk_run_results"),
    )
    op.create_index("ix_run_results_ends_at", "run_results", ["ends_at"])
    op.create_index("ix_run_results_other_id", "run_results", ["other_id"])


def downgrade() -> None:
    op.drop_table("run_results")
    runs = sa.table("runs", sa.column("id"), sa.column("what"))
    new = sa.select(runs.c.id).where(runs.c.what.in_(("compare", "answer")))
    for name in OF_RUNS:
        table = sa.table(name, sa.column("run_id"))
        op.execute(sa.delete(table).where(table.c.run_id.in_(new)))
    op.execute(sa.delete(runs).where(runs.c.what.in_(("compare", "answer"))))
    allow(KINDS_BEFORE)


def allow(kinds: tuple[str, ...]) -> None:
    """Let runs be of these kinds, and of no others."""
    told = ", ".join(f"'{kind}'" for kind in kinds)
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f("ck_runs_what"), "runs", type_="check")
        op.create_check_constraint(op.f("ck_runs_what"), "runs", f"what IN ({told})")
        return
    put_back = taken_away()
    with op.batch_alter_table("runs") as batch:
        # Spelled as it was: SQLite gives the default of a text back in brackets.
        for name, default in (("suite", ""), ("state", "queued")):
            batch.alter_column(name, existing_type=sa.Text(), existing_nullable=False, server_default=default)
        batch.drop_constraint(op.f("ck_runs_what"), type_="check")
        batch.create_check_constraint(op.f("ck_runs_what"), f"what IN ({told})")
    put_back()


def taken_away() -> Callable[[], None]:
    """Drop what stands in the way, and give what makes it again, word for word."""
    schema = sa.table("sqlite_master", sa.column("name"), sa.column("sql"), sa.column("type"))
    query = sa.select(schema.c.type, schema.c.name, schema.c.sql)
    query = query.where(schema.c.name.in_((TRIGGER, *INDEXES)))
    found = [(str(kind), str(name), str(sql)) for kind, name, sql in op.get_bind().execute(query)]
    for kind, name, _ in found:
        op.execute(sa.text(f"DROP {kind} {name}"))

    def put_back() -> None:
        for _, _, sql in found:
            op.get_bind().exec_driver_sql(sql)

    return put_back
