"""A version keeps what its own files say of its base, where who pushed it insisted on another.

On the way down it is forgotten; the versions stay.
"""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("base_claim", sa.Text))


def downgrade() -> None:
    op.drop_column("versions", "base_claim")
