"""Who pulled which version, which weights a version has, and channels that promote by themselves.

The weights of versions that are there already are read by a server in the background. On the way
down, policies lose the keys that the release before does not know.
"""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NEW_KEYS = ("auto_promote", "label")


def upgrade() -> None:
    op.create_table(
        "pulls",
        _of_version(),
        sa.Column("principal_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        _to_version("pulls"),
        sa.PrimaryKeyConstraint("version_id", "principal_id", name="pk_pulls"),
    )
    op.create_table(
        "version_weights",
        _of_version(),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        _to_version("version_weights"),
        sa.PrimaryKeyConstraint("version_id", name="pk_version_weights"),
    )
    op.create_index("ix_version_weights_digest", "version_weights", ["digest"])
    op.create_table(
        "weight_marks",
        sa.Column("mark", sa.BigInteger(), nullable=False),
        _of_version(),
        _to_version("weight_marks"),
        sa.PrimaryKeyConstraint("mark", "version_id", name="pk_weight_marks"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "auto_promotions",
        sa.Column("channel_id", ROW_ID, nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channels.id"], name="fk_auto_promotions_channel_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_auto_promotions_principal_id"),
        sa.PrimaryKeyConstraint("channel_id", name="pk_auto_promotions"),
    )


def downgrade() -> None:
    for table in ("auto_promotions", "weight_marks", "version_weights", "pulls"):
        op.drop_table(table)
    channels = sa.table("channels", sa.column("id"), sa.column("policy", sa.JSON()))
    connection = op.get_bind()
    for row_id, policy in connection.execute(sa.select(channels.c.id, channels.c.policy)).all():
        kept = {key: value for key, value in policy.items() if key not in NEW_KEYS}
        if kept != policy:
            connection.execute(sa.update(channels).where(channels.c.id == row_id).values(policy=kept))


def _of_version() -> sa.Column[int]:
    return sa.Column("version_id", ROW_ID, nullable=False)


def _to_version(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=f"fk_{table}_version_id", ondelete="CASCADE")
