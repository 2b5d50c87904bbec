"""A closed upload keeps no manifest."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    allow_null(is_allowed=True)


def downgrade() -> None:
    # Nobody reads the manifest of a closed upload; it only has to be there.
    uploads = sa.table("uploads", sa.column("manifest", sa.LargeBinary()))
    op.execute(sa.update(uploads).where(uploads.c.manifest.is_(None)).values(manifest=b"{}"))
    allow_null(is_allowed=False)


def allow_null(*, is_allowed: bool) -> None:
    with op.batch_alter_table("uploads") as batch:
        batch.alter_column("manifest", existing_type=sa.LargeBinary(), nullable=is_allowed)
