"""What verifications wait for that came to nothing; no channel serves what stands on corrupt bytes.

Nothing waits after this that did not before: verdicts of the release before that came to nothing
stay as they are.
"""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import TriggerRule, drop_functions, drop_triggers, refuse

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REVISION_RULES = (
    TriggerRule(
        "a version on a corrupt base is served by no channel",
        """<moves> AND EXISTS (SELECT 1 <of_version> AND EXISTS (SELECT 1 FROM bases AS b
            WHERE b.corrupt_at IS NOT NULL AND (b.id = v.base_id OR b.id IN
                (SELECT s.bottom_id FROM version_bases AS s WHERE s.base_id = v.base_id))))""",
    ),
)


def upgrade() -> None:
    op.create_table(
        "waiting_runs",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("version_id", ROW_ID),
        sa.Column("base_id", ROW_ID),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_waiting_runs_run_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_waiting_runs_version_id"),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_waiting_runs_base_id"),
        sa.PrimaryKeyConstraint("id", name="pk_waiting_runs"),
        sa.UniqueConstraint("version_id", "run_id", name="uq_waiting_runs_version_id_run_id"),
        sa.UniqueConstraint("base_id", "run_id", name="uq_waiting_runs_base_id_run_id"),
        sa.CheckConstraint("(version_id IS NULL) <> (base_id IS NULL)", name=op.f("ck_waiting_runs_subject")),
    )
    op.create_index("ix_waiting_runs_run_id", "waiting_runs", ["run_id"])
    refuse("revisions", "INSERT", REVISION_RULES, name="below")


def downgrade() -> None:
    drop_triggers("revisions", "below")
    drop_functions("revisions_below_rules")
    op.drop_table("waiting_runs")
