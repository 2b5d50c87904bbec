"""Followers say whether their engine's base is the version's, and what else is wrong.

What was reported before was not checked, and no agent of the release before checks it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, default in (("base", "unchecked"), ("trouble", "")):
        op.add_column("followers", sa.Column(name, sa.Text(), nullable=False, server_default=default))


def downgrade() -> None:
    for name in ("trouble", "base"):
        op.drop_column("followers", name)
