"""The queue, verdicts and workers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    create_runs()
    create_verdicts()
    create_workers()


def downgrade() -> None:
    for table in ("workers", "verdicts", "runs"):
        op.drop_table(table)


def create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("dedup_key", sa.Text(), nullable=False),
        sa.Column("version_id", ROW_ID),
        sa.Column("suite", sa.Text(), server_default="", nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("priority", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_attempts", sa.BigInteger(), server_default=sa.text("3"), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("lease_holder", sa.Text()),
        sa.Column("lease_expires_at", sa.BigInteger()),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("created_by", ROW_ID),
        sa.Column("error", sa.Text()),
        sa.Column("result", sa.JSON()),
        sa.CheckConstraint("state <> 'running' OR lease_expires_at IS NOT NULL", name=op.f("ck_runs_leased")),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'dead', 'cancelled')", name=op.f("ck_runs_state")),
        sa.CheckConstraint("what <> 'verify' OR version_id IS NOT NULL", name=op.f("ck_runs_verified_version")),
        sa.CheckConstraint("what IN ('verify', 'reencode', 'compare', 'merge')", name=op.f("ck_runs_what")),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_runs_created_by"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_runs_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_created_at_id", "runs", ["created_at", "id"])
    op.create_index(
        "ix_runs_to_claim",
        "runs",
        [sa.text("priority DESC"), "created_at", "id"],
        sqlite_where=sa.text("state IN ('queued', 'running')"),
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_index("ix_runs_version_id", "runs", ["version_id"])
    op.create_index(
        "uq_runs_active_dedup_key",
        "runs",
        ["dedup_key"],
        unique=True,
        sqlite_where=sa.text("state IN ('queued', 'running')"),
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )


def create_verdicts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("manifest_digest", sa.Text(), nullable=False),
        sa.Column("base_root", sa.Text(), nullable=False),
        sa.Column("suite", sa.Text(), nullable=False),
        sa.Column("suite_digest", sa.Text(), nullable=False),
        sa.Column("verifier", sa.Text(), nullable=False),
        sa.Column("policy_digest", sa.Text(), nullable=False),
        sa.Column("dtype", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("base_evidence", sa.Text(), nullable=False),
        sa.Column("checks", sa.JSON(), nullable=False),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("sandbox", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.CheckConstraint("verdict IN ('pass', 'fail', 'inconclusive')", name=op.f("ck_verdicts_verdict")),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_verdicts_created_by"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_verdicts_run_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_verdicts_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_verdicts"),
        sa.UniqueConstraint("run_id", name="uq_verdicts_run_id"),
    )
    op.create_index("ix_verdicts_version_id_suite_created_at", "verdicts", ["version_id", "suite", "created_at"])


def create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_workers_principal_id"),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
        sa.UniqueConstraint("name", name="uq_workers_name"),
    )
