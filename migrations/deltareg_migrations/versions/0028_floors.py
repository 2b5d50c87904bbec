"""Policies of the server and of namespaces; verdicts and what is to be reviewed by an index.

Nobody asks anything of all channels after this that was not asked before.
"""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import append_only, drop_append_only

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NEWEST_FIRST = {
    "ix_verdicts_version_id_created_at_id": ["version_id", "created_at", "id"],
    "ix_verdicts_suite_created_at_id": ["suite", "created_at", "id"],
    "ix_verdicts_created_at_id": ["created_at", "id"],
}


def upgrade() -> None:
    op.create_table(
        "floors",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("namespace_id", ROW_ID),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_floors_namespace_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_floors_created_by"),
        sa.PrimaryKeyConstraint("id", name="pk_floors"),
    )
    op.create_index("ix_floors_namespace_id_id", "floors", ["namespace_id", "id"])
    append_only("floors")
    for name, columns in NEWEST_FIRST.items():
        op.create_index(name, "verdicts", columns)
    op.create_index(
        "ix_revisions_broken",
        "revisions",
        ["channel_id", "id"],
        sqlite_where=sa.text("break_glass IS 1"),
        postgresql_where=sa.text("break_glass IS true"),
    )


def downgrade() -> None:
    op.drop_index("ix_revisions_broken", table_name="revisions")
    for name in NEWEST_FIRST:
        op.drop_index(name, table_name="verdicts")
    drop_append_only("floors")
