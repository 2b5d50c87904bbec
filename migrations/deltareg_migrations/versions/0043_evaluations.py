"""Evaluations of versions that other systems made, and that nobody signed.

On the way down they are dropped, and policies and floors lose the keys that the release before does
not know: attestations and metrics that others signed stay where they are, among the referrers.
"""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import append_only, drop_append_only

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NEW_KEYS = ("attestations", "metrics", "licences", "datasets")


def upgrade() -> None:
    op.create_table(
        "evaluations",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_evaluations_version_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_evaluations_created_by"),
        sa.PrimaryKeyConstraint("id", name="pk_evaluations"),
    )
    op.create_index("ix_evaluations_version_id", "evaluations", ["version_id"])
    op.create_table(
        "withdrawn_evaluations",
        sa.Column("evaluation_id", ROW_ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["evaluation_id"], ["evaluations.id"], name="fk_withdrawn_evaluations_evaluation_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_withdrawn_evaluations_created_by"),
        sa.PrimaryKeyConstraint("evaluation_id", name="pk_withdrawn_evaluations"),
    )
    for table in ("evaluations", "withdrawn_evaluations"):
        append_only(table)


def downgrade() -> None:
    for table in ("withdrawn_evaluations", "evaluations"):
        drop_append_only(table)
    _forget_keys_of_channels()
    _forget_keys_of_floors()


def _forget_keys_of_channels() -> None:
    channels = sa.table("channels", sa.column("id"), sa.column("policy", sa.JSON()))
    connection = op.get_bind()
    for row_id, policy in connection.execute(sa.select(channels.c.id, channels.c.policy)).all():
        kept = _without_new(policy)
        if kept != policy:
            connection.execute(sa.update(channels).where(channels.c.id == row_id).values(policy=kept))


def _forget_keys_of_floors() -> None:
    """Add a newest row without the keys where the newest has them: floors are only ever added to."""
    names = ("id", "namespace_id", "reason", "created_at", "created_by")
    floors = sa.table("floors", *map(sa.column, names), sa.column("policy", sa.JSON()))
    connection = op.get_bind()
    rows = connection.execute(sa.select(floors).order_by(floors.c.id)).mappings()
    newest = {row["namespace_id"]: row for row in rows}
    for row in newest.values():
        kept = _without_new(row["policy"])
        if kept != row["policy"]:
            values = {**row, "policy": kept}
            del values["id"]
            connection.execute(sa.insert(floors).values(values))


def _without_new(policy: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in policy.items() if key not in NEW_KEYS}
