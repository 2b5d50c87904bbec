"""A version says how many bytes a machine that has only the base fetches of it.

Rows of before have none yet: upkeep measures them from their storage maps.
"""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("cold_bytes", sa.BigInteger))
    unmeasured = sa.text("cold_bytes IS NULL AND deleted_at IS NULL")
    op.create_index("ix_versions_unmeasured", "versions", ["id"], sqlite_where=unmeasured, postgresql_where=unmeasured)


def downgrade() -> None:
    op.drop_index("ix_versions_unmeasured", "versions")
    op.drop_column("versions", "cold_bytes")
