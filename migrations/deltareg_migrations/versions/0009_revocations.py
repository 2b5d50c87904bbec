"""Who revoked a version, why, and until when."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "revocations",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("actor_id", ROW_ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("ended_by", ROW_ID),
        sa.Column("end_reason", sa.Text()),
        sa.ForeignKeyConstraint(["actor_id"], ["principals.id"], name="fk_revocations_actor_id"),
        sa.ForeignKeyConstraint(["ended_by"], ["principals.id"], name="fk_revocations_ended_by"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_revocations_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_revocations"),
    )
    op.create_index(
        "uq_revocations_standing",
        "revocations",
        ["version_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("revocations")
