"""What clients of the Hugging Face Hub have sent that is no version yet."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _principal(table: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    return (
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name=f"fk_{table}_principal_id"),
    )


def upgrade() -> None:
    op.create_table(
        "hub_drafts",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        *_principal("hub_drafts"),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("touched_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hub_drafts"),
        sa.UniqueConstraint("line", "principal_id", name="uq_hub_drafts_line_principal_id"),
    )
    op.create_table(
        "hub_staged",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        *_principal("hub_staged"),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("physical_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("touched_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hub_staged"),
        sa.UniqueConstraint("physical_key", name="uq_hub_staged_physical_key"),
        sa.CheckConstraint("state IN ('receiving', 'here', 'gone')", name=op.f("ck_hub_staged_state")),
    )
    op.create_index("ix_hub_staged_line_principal_id", "hub_staged", ["line", "principal_id"])
    op.create_index("ix_hub_staged_touched_at", "hub_staged", ["touched_at"])
    op.create_table(
        "hub_tickets",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("ticket", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        *_principal("hub_tickets"),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hub_tickets"),
        sa.UniqueConstraint("ticket", name="uq_hub_tickets_ticket"),
    )


def downgrade() -> None:
    op.drop_table("hub_tickets")
    op.drop_table("hub_staged")
    op.drop_table("hub_drafts")
