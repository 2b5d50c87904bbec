"""What versions and bases have in each of their packs."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FIGURES = ("referenced_bytes", "referenced_payload", "alone_bytes", "alone_payload")


def upgrade() -> None:
    create_shares("version", "storage_revision")
    create_shares("base")


def create_shares(holder: str, *more: str) -> None:
    own = f"{holder}_id"
    op.create_table(
        f"{holder}_shares",
        sa.Column(own, ROW_ID, nullable=False),
        sa.Column("pack_id", ROW_ID, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in (*more, *FIGURES)),
        sa.ForeignKeyConstraint(
            [own, "pack_id"],
            [f"{holder}_packs.{own}", f"{holder}_packs.pack_id"],
            name=f"fk_{holder}_shares_{own}_pack_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(own, "pack_id", name=f"pk_{holder}_shares"),
    )


def downgrade() -> None:
    op.drop_table("base_shares")
    op.drop_table("version_shares")
