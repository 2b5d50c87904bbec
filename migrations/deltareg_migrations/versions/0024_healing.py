"""A re-encoding is a proposal until it is proven, and packs that are damaged are known as such.

What is stored stays as it is: no pack is known to be bad, and no form waits.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("packs", sa.Column("bad_at", sa.BigInteger()))
    op.add_column("packs", sa.Column("bad_why", sa.Text()))
    op.add_column("forms", sa.Column("proven_at", sa.BigInteger()))
    op.create_index(
        "ix_packs_bad",
        "packs",
        ["id"],
        sqlite_where=sa.text("bad_at IS NOT NULL"),
        postgresql_where=sa.text("bad_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_packs_bad", "packs")
    op.drop_column("forms", "proven_at")
    op.drop_column("packs", "bad_why")
    op.drop_column("packs", "bad_at")
