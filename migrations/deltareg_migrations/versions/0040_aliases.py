"""Lines, channels and namespaces have aliases, and a line or a channel may be deleted.

What there is keeps its name; nothing had another one before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "line_aliases",
        sa.Column("namespace_id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        *_leads_to("line_aliases", "delta_id", "deltas"),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_line_aliases_namespace_id"),
        sa.PrimaryKeyConstraint("namespace_id", "name", name="pk_line_aliases"),
    )
    op.create_table(
        "channel_aliases",
        sa.Column("delta_id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        *_leads_to("channel_aliases", "channel_id", "channels"),
        sa.ForeignKeyConstraint(["delta_id"], ["deltas.id"], name="fk_channel_aliases_delta_id"),
        sa.PrimaryKeyConstraint("delta_id", "name", name="pk_channel_aliases"),
    )
    op.create_table(
        "namespace_aliases",
        sa.Column("name", sa.Text(), nullable=False),
        *_leads_to("namespace_aliases", "namespace_id", "namespaces"),
        sa.PrimaryKeyConstraint("name", name="pk_namespace_aliases"),
    )
    op.create_index("ix_line_aliases_delta_id", "line_aliases", ["delta_id"])
    op.create_index("ix_channel_aliases_channel_id", "channel_aliases", ["channel_id"])
    op.create_index("ix_namespace_aliases_namespace_id", "namespace_aliases", ["namespace_id"])
    for table in ("deltas", "channels"):
        op.add_column(table, sa.Column("deleted_at", sa.BigInteger()))


def downgrade() -> None:
    for table in ("channels", "deltas"):
        op.drop_column(table, "deleted_at")
    for table in ("namespace_aliases", "channel_aliases", "line_aliases"):
        op.drop_table(table)


def _leads_to(table: str, column: str, target: str) -> tuple[sa.Column[object] | sa.ForeignKeyConstraint, ...]:
    return (
        sa.Column(column, ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name=f"fk_{table}_created_by"),
    )
