"""Channels, their ledger, quarantines."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    create_channels()
    create_revisions()
    create_quarantines()
    refuse_changes()


def downgrade() -> None:
    allow_changes()
    for table in ("quarantines", "revisions", "channels"):
        op.drop_table(table)


def create_channels() -> None:
    op.create_table(
        "channels",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("delta_id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["delta_id"], ["deltas.id"], name="fk_channels_delta_id"),
        sa.PrimaryKeyConstraint("id", name="pk_channels"),
        sa.UniqueConstraint("delta_id", "name", name="uq_channels_delta_id_name"),
    )


def create_revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("channel_id", ROW_ID, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version_id", ROW_ID),
        sa.Column("digest", sa.Text()),
        sa.Column("base_root", sa.Text()),
        sa.Column("actor_id", ROW_ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("verdict_ids", sa.JSON(), nullable=False),
        sa.Column("previous_version_id", ROW_ID),
        sa.Column("break_glass", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('freeze', 'unfreeze')"
            " OR (version_id IS NOT NULL AND digest IS NOT NULL AND base_root IS NOT NULL)",
            name=op.f("ck_revisions_moved_version"),
        ),
        sa.CheckConstraint("kind IN ('promote', 'rollback', 'freeze', 'unfreeze')", name=op.f("ck_revisions_kind")),
        sa.ForeignKeyConstraint(["actor_id"], ["principals.id"], name="fk_revisions_actor_id"),
        sa.ForeignKeyConstraint(["channel_id"], ["channels.id"], name="fk_revisions_channel_id"),
        sa.ForeignKeyConstraint(["previous_version_id"], ["versions.id"], name="fk_revisions_previous_version_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_revisions_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_revisions"),
        sa.UniqueConstraint("channel_id", "number", name="uq_revisions_channel_id_number"),
    )
    op.create_index("ix_revisions_version_id", "revisions", ["version_id"])


def create_quarantines() -> None:
    op.create_table(
        "quarantines",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("channel_id", ROW_ID, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("revision_id", ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("cleared_at", sa.BigInteger()),
        sa.Column("cleared_by", ROW_ID),
        sa.Column("clear_reason", sa.Text()),
        sa.ForeignKeyConstraint(["channel_id"], ["channels.id"], name="fk_quarantines_channel_id"),
        sa.ForeignKeyConstraint(["cleared_by"], ["principals.id"], name="fk_quarantines_cleared_by"),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name="fk_quarantines_revision_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_quarantines_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_quarantines"),
    )
    op.create_index(
        "uq_quarantines_standing",
        "quarantines",
        ["channel_id", "version_id"],
        unique=True,
        sqlite_where=sa.text("cleared_at IS NULL"),
        postgresql_where=sa.text("cleared_at IS NULL"),
    )


def refuse_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER revisions_no_{event.lower()} BEFORE {event} ON revisions"
                " BEGIN SELECT RAISE(ABORT, 'revisions is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION revisions_is_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'revisions is append-only' USING ERRCODE = '23001'; END $$"
    )
    for name, event, each in (("no_change", "UPDATE OR DELETE", "ROW"), ("no_truncate", "TRUNCATE", "STATEMENT")):
        op.execute(
            f"CREATE TRIGGER revisions_{name} BEFORE {event} ON revisions"
            f" FOR EACH {each} EXECUTE FUNCTION revisions_is_append_only()"
        )


def allow_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for event in ("update", "delete"):
            op.execute(f"DROP TRIGGER revisions_no_{event}")
        return
    for name in ("no_change", "no_truncate"):
        op.execute(f"DROP TRIGGER revisions_{name} ON revisions")
    op.execute("DROP FUNCTION revisions_is_append_only()")
