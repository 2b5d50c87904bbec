"""Trusts in service accounts of clusters, whose pods are workers.

On the way down they are dropped; what the workers signed goes on counting.
"""

import sqlalchemy as sa
from alembic import op

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "worker_trusts",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID, nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("ended_by", ROW_ID),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_worker_trusts_created_by"),
        sa.ForeignKeyConstraint(["ended_by"], ["principals.id"], name="fk_worker_trusts_ended_by"),
        sa.PrimaryKeyConstraint("id", name="pk_worker_trusts"),
    )
    op.create_index("ix_worker_trusts_issuer", "worker_trusts", ["issuer"])
    op.create_table(
        "worker_assertions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("trust_id", ROW_ID, nullable=False),
        sa.Column("keyid", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["trust_id"], ["worker_trusts.id"], name="fk_worker_assertions_trust_id"),
        sa.PrimaryKeyConstraint("digest", name="pk_worker_assertions"),
    )
    op.create_index("ix_worker_assertions_expires_at", "worker_assertions", ["expires_at"])


def downgrade() -> None:
    op.execute("UPDATE tokens SET revoked_at = created_at WHERE note LIKE 'by worker trust %' AND revoked_at IS NULL")
    op.drop_table("worker_assertions")
    op.drop_table("worker_trusts")
