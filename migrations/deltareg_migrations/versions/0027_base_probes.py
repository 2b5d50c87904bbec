"""Bases have a general probe set, and what workers found of them on it is kept.

A base of before has none until the next verification on it, which draws the one that it has for
good.
"""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import append_only, drop_append_only

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "base_probes",
        sa.Column("base_id", ROW_ID, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_base_probes_base_id"),
        sa.PrimaryKeyConstraint("base_id", name="pk_base_probes"),
    )
    op.create_table(
        "base_figures",
        sa.Column("base_id", ROW_ID, nullable=False),
        sa.Column("surroundings", sa.Text(), nullable=False),
        sa.Column("keyid", sa.Text(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_base_figures_base_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_base_figures_created_by"),
        sa.PrimaryKeyConstraint("base_id", "surroundings", "keyid", name="pk_base_figures"),
    )
    for table in ("base_probes", "base_figures"):
        append_only(table)


def downgrade() -> None:
    for table in ("base_figures", "base_probes"):
        drop_append_only(table)
