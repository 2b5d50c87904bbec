"""Versions and lines may be deprecated: who did it, when, why, and what to use instead.

Nothing was deprecated before. Who ended it stands in the audit trail.
"""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("deltas", "versions"):
        op.add_column(table, sa.Column("deprecation", sa.JSON()))


def downgrade() -> None:
    for table in ("versions", "deltas"):
        op.drop_column(table, "deprecation")
