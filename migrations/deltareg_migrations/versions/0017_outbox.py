"""Events wait in an outbox, each beside its row of the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("audit_id", ROW_ID, nullable=False),
        sa.Column("namespace", sa.Text(), nullable=True),
        sa.Column("line", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("line IS NULL OR namespace IS NOT NULL", name=op.f("ck_outbox_line")),
        sa.ForeignKeyConstraint(["audit_id"], ["audit.id"], name=op.f("fk_outbox_audit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("audit_id", name=op.f("uq_outbox_audit_id")),
    )


def downgrade() -> None:
    op.drop_table("outbox")
