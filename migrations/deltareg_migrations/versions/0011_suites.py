"""Suites that people push, and the files of their probe sets."""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import append_only, drop_append_only

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "suites",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_suites_created_by"),
        sa.PrimaryKeyConstraint("id", name="pk_suites"),
        sa.UniqueConstraint("name", "number", name="uq_suites_name_number"),
    )
    op.create_index("ix_suites_digest", "suites", ["digest"])
    op.create_table(
        "suite_files",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_suite_files"),
        sa.UniqueConstraint("digest", name="uq_suite_files_digest"),
    )
    op.create_table(
        "suite_uses",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("suite_id", ROW_ID, nullable=False),
        sa.Column("file_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["suite_id"], ["suites.id"], name="fk_suite_uses_suite_id"),
        sa.ForeignKeyConstraint(["file_id"], ["suite_files.id"], name="fk_suite_uses_file_id"),
        sa.PrimaryKeyConstraint("id", name="pk_suite_uses"),
        sa.UniqueConstraint("suite_id", "file_id", name="uq_suite_uses_suite_id_file_id"),
    )
    op.create_table(
        "comparisons",
        sa.Column("verdict_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdicts.id"], name="fk_comparisons_verdict_id"),
        sa.PrimaryKeyConstraint("verdict_id", name="pk_comparisons"),
    )
    for table in ("suites", "suite_files", "suite_uses", "comparisons"):
        append_only(table)


def downgrade() -> None:
    for table in ("comparisons", "suite_uses", "suite_files", "suites"):
        drop_append_only(table)
