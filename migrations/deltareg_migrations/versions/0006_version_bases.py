"""Versions that are bases of others."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "version_bases",
        sa.Column("base_id", ROW_ID, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("bottom_id", ROW_ID, nullable=False),
        sa.Column("depth", sa.BigInteger(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("depth >= 1", name=op.f("ck_version_bases_depth")),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_version_bases_base_id"),
        sa.ForeignKeyConstraint(["bottom_id"], ["bases.id"], name="fk_version_bases_bottom_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_version_bases_version_id"),
        sa.PrimaryKeyConstraint("base_id", name="pk_version_bases"),
        sa.UniqueConstraint("version_id", name="uq_version_bases_version_id"),
    )


def downgrade() -> None:
    op.drop_table("version_bases")
