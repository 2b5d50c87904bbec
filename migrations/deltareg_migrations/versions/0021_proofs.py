"""Bytes are claimed until somebody else than their sender has decoded them, and proven after it.

Versions, bases and pieces that are there are claimed: a server of this release finds out what is
proven of them (`deltareg.service.push.backlog`). Other stored forms of a version have rows, and
runs may be about a base.
"""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

from deltareg_migrations.triggers import TriggerRule, drop_functions, drop_triggers, refuse

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ACTIVE = sa.text("state IN ('queued', 'running')")
SERVED = sa.text("started_at IS NOT NULL")
TO_CLAIM = ("priority DESC", "turn", "created_at", "id")
LANE, SERVED_BY = ("namespace_id", "priority", "turn"), ("priority", "turn")
HELD = ("versions", "bases")

# As revision 0018 has them: the table that they look at is written anew, which SQLite does not do
# under a trigger.
VERDICT_RULES = (
    TriggerRule(
        "a verdict is about its version, with its digest and its base, or the variant that its run names",
        """NOT EXISTS (SELECT 1 <of_version> AND v.manifest_digest = NEW.manifest_digest
            AND NEW.base_root = COALESCE((SELECT <asked_base_root> FROM runs AS q
                WHERE q.id = NEW.run_id), v.base_root)
            AND (NEW.base_root = v.base_root OR EXISTS (SELECT 1 FROM bases AS b
                JOIN base_variants AS w ON w.base_id = b.id JOIN bases AS r ON r.id = w.root_id
                WHERE b.root = NEW.base_root AND r.root = v.base_root)))""",
    ),
    TriggerRule(
        "a verdict is of a run of its version and its suite that has ended",
        """NOT EXISTS (SELECT 1 FROM runs AS q WHERE q.id = NEW.run_id AND q.what = 'verify'
            AND q.version_id = NEW.version_id AND q.suite = NEW.suite
            AND <asked_suite_digest> = NEW.suite_digest
            AND q.state NOT IN ('queued', 'running'))""",
    ),
    TriggerRule(
        "a pass has checks, and none of them failed",
        "NEW.verdict = 'pass' AND (<count_checks> = 0 OR EXISTS (<failed_checks>))",
    ),
)

REVISION_RULES = (
    TriggerRule(
        "a corrupt version is served by no channel",
        "<moves> AND EXISTS (SELECT 1 <of_version> AND v.corrupt_at IS NOT NULL)",
    ),
    TriggerRule(
        "a version is promoted once its bytes are proven",
        """<promotes> AND NOT EXISTS (SELECT 1 <of_version>
            AND v.proven_revision = v.storage_revision)""",
    ),
)


def upgrade() -> None:
    op.add_column("bases", sa.Column("storage_revision", sa.BigInteger(), server_default=sa.text("1"), nullable=False))
    for table in HELD:
        for name in ("proven_at", "proven_revision", "corrupt_at"):
            op.add_column(table, sa.Column(name, sa.BigInteger()))
        op.add_column(table, sa.Column("stored_by", ROW_ID))
    op.add_column("pieces", sa.Column("proven_at", sa.BigInteger()))
    rebuild_runs(add_prove)
    create_forms()
    refuse("revisions", "INSERT", REVISION_RULES, name="proven")


def downgrade() -> None:
    drop_triggers("revisions", "proven")
    drop_functions("revisions_proven_rules")
    for table in ("form_packs", "forms"):
        op.drop_table(table)
    drop_proofs()
    rebuild_runs(drop_prove)
    op.drop_column("pieces", "proven_at")
    for table in HELD:
        for name in ("stored_by", "corrupt_at", "proven_revision", "proven_at"):
            op.drop_column(table, name)
    op.drop_column("bases", "storage_revision")


def drop_proofs() -> None:
    """Drop the runs of a kind that the release before does not know, with their logs."""
    runs, log, dropped = (
        sa.table(n, sa.column(c)) for n, c in (("runs", "id"), ("run_log", "run_id"), ("dropped_logs", "run_id"))
    )
    proofs = sa.select(runs.c.id).where(sa.column("what") == "prove")
    for table in (log, dropped):
        op.execute(sa.delete(table).where(table.c.run_id.in_(proofs)))
    op.execute(sa.delete(runs).where(sa.column("what") == "prove"))


def rebuild_runs(change: Callable[[BatchOperations], None]) -> None:
    """Write the table of runs anew, without what SQLite would trip over or not carry along."""
    drop_triggers("verdicts", "bound")
    drop_functions("verdicts_bound_rules")
    indexes = ("ix_runs_served", "ix_runs_lane", "ix_runs_to_claim", "uq_runs_active_dedup_key")
    for name in indexes:
        op.drop_index(name, "runs")
    with op.batch_alter_table("runs") as batch:
        # Spelled as it was: SQLite gives the default of a text back in brackets.
        batch.alter_column("suite", existing_type=sa.Text(), existing_nullable=False, server_default="")
        batch.alter_column("state", existing_type=sa.Text(), existing_nullable=False, server_default="queued")
        change(batch)
    for name, columns, where in (
        ("ix_runs_to_claim", TO_CLAIM, ACTIVE),
        ("ix_runs_lane", LANE, ACTIVE),
        ("ix_runs_served", SERVED_BY, SERVED),
    ):
        op.create_index(name, "runs", [sa.text(one) for one in columns], sqlite_where=where, postgresql_where=where)
    op.create_index(
        "uq_runs_active_dedup_key", "runs", ["dedup_key"], unique=True, sqlite_where=ACTIVE, postgresql_where=ACTIVE
    )
    refuse("verdicts", "INSERT", VERDICT_RULES, name="bound")


def add_prove(batch: BatchOperations) -> None:
    batch.drop_constraint(op.f("ck_runs_what"), type_="check")
    batch.add_column(sa.Column("base_id", ROW_ID))
    batch.create_foreign_key("fk_runs_base_id", "bases", ["base_id"], ["id"])
    batch.create_check_constraint(op.f("ck_runs_what"), "what IN ('verify', 'reencode', 'prove')")
    batch.create_check_constraint(
        op.f("ck_runs_proven_subject"), "what <> 'prove' OR (version_id IS NULL) <> (base_id IS NULL)"
    )
    batch.create_index("ix_runs_base_id", ["base_id"])


def drop_prove(batch: BatchOperations) -> None:
    batch.drop_index("ix_runs_base_id")
    batch.drop_constraint(op.f("ck_runs_proven_subject"), type_="check")
    batch.drop_constraint(op.f("ck_runs_what"), type_="check")
    batch.drop_constraint("fk_runs_base_id", type_="foreignkey")
    batch.drop_column("base_id")
    batch.create_check_constraint(op.f("ck_runs_what"), "what IN ('verify', 'reencode', 'compare', 'merge')")


def create_forms() -> None:
    op.create_table(
        "forms",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("storage_map", sa.LargeBinary(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger()),
        sa.Column("sent_by", ROW_ID),
        sa.Column("run_id", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.CheckConstraint("why IN ('push', 'reencode', 'revert')", name=op.f("ck_forms_why")),
        sa.CheckConstraint(
            "state IN ('proposed', 'taken', 'refused', 'dropped', 'former', 'released')", name=op.f("ck_forms_state")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_forms_run_id"),
        sa.ForeignKeyConstraint(["sent_by"], ["principals.id"], name="fk_forms_sent_by"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_forms_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_forms"),
    )
    op.create_index("ix_forms_version_id_state", "forms", ["version_id", "state"])
    op.create_index("ix_forms_run_id", "forms", ["run_id"])
    op.create_table(
        "form_packs",
        sa.Column("form_id", ROW_ID, nullable=False),
        sa.Column("pack_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["form_id"], ["forms.id"], name="fk_form_packs_form_id", ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["pack_id"], ["packs.id"], name="fk_form_packs_pack_id", ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("form_id", "pack_id", name="pk_form_packs"),
    )
    op.create_index("ix_form_packs_pack_id", "form_packs", ["pack_id"])
