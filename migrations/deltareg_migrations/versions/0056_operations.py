"""Operations by themselves, and rules of retention.

Both tables are new: servers of the release before know neither, and go on with their own upkeep.
"""

import sqlalchemy as sa
from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KINDS = ("archive", "backfill", "check", "collect", "copy", "prove", "recount", "repair", "retain", "tidy")


def upgrade() -> None:
    zero = sa.text("0")
    listed = ", ".join(f"'{kind}'" for kind in KINDS)
    op.create_table(
        "operations",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("every_us", sa.BigInteger()),
        sa.Column("percent", sa.BigInteger()),
        sa.Column("paused_at", sa.BigInteger()),
        sa.Column("set_by", ROW_ID),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("asked_at", sa.BigInteger()),
        sa.Column("holder", sa.Text()),
        sa.Column("held_until", sa.BigInteger(), nullable=False, server_default=zero),
        sa.Column("fence", sa.BigInteger(), nullable=False, server_default=zero),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("place", sa.JSON()),
        sa.Column("done", sa.BigInteger(), nullable=False, server_default=zero),
        sa.Column("total", sa.BigInteger()),
        sa.Column("counts", sa.JSON()),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("outcome", sa.JSON()),
        sa.Column("failure", sa.Text()),
        sa.CheckConstraint(f"kind IN ({listed})", name="kind"),
        sa.ForeignKeyConstraint(["set_by"], ["principals.id"], name="fk_operations_set_by"),
        sa.PrimaryKeyConstraint("kind", name="pk_operations"),
    )
    op.create_table(
        "retention_rules",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("namespace_id", ROW_ID),
        sa.Column("delta_id", ROW_ID),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("keep", sa.JSON(), nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(namespace_id IS NULL) <> (delta_id IS NULL)", name="subject"),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_retention_rules_namespace_id"),
        sa.ForeignKeyConstraint(["delta_id"], ["deltas.id"], name="fk_retention_rules_delta_id"),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_retention_rules_principal_id"),
        sa.PrimaryKeyConstraint("id", name="pk_retention_rules"),
        sa.UniqueConstraint("namespace_id", "kind", name="uq_retention_rules_namespace_id_kind"),
        sa.UniqueConstraint("delta_id", "kind", name="uq_retention_rules_delta_id_kind"),
    )
    op.add_column("versions", sa.Column("put_away_at", sa.BigInteger()))
    to_put_away = sa.text("released_at IS NOT NULL AND put_away_at IS NULL")
    op.create_index(
        "ix_versions_to_put_away", "versions", ["id"], sqlite_where=to_put_away, postgresql_where=to_put_away
    )


def downgrade() -> None:
    op.drop_index("ix_versions_to_put_away", "versions")
    op.drop_column("versions", "put_away_at")
    op.drop_table("retention_rules")
    op.drop_table("operations")
