"""When a freeze of a channel ends by itself."""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import append_only, drop_append_only

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "freezes",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("revision_id", ROW_ID, nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name="fk_freezes_revision_id"),
        sa.PrimaryKeyConstraint("id", name="pk_freezes"),
        sa.UniqueConstraint("revision_id", name="uq_freezes_revision_id"),
    )
    append_only("freezes")


def downgrade() -> None:
    drop_append_only("freezes")
