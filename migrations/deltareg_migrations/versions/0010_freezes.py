"""When a freeze of a channel ends by itself."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "freezes",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("revision_id", ROW_ID, nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name="fk_freezes_revision_id"),
        sa.PrimaryKeyConstraint("id", name="pk_freezes"),
        sa.UniqueConstraint("revision_id", name="uq_freezes_revision_id"),
    )
    refuse_changes()


def downgrade() -> None:
    op.drop_table("freezes")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION freezes_is_append_only()")


def refuse_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER freezes_no_{event.lower()} BEFORE {event} ON freezes"
                " BEGIN SELECT RAISE(ABORT, 'freezes is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION freezes_is_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'freezes is append-only' USING ERRCODE = '23001'; END $$"
    )
    for name, event, each in (
        ("no_change", "UPDATE OR DELETE", "ROW"),
        ("no_truncate", "TRUNCATE", "STATEMENT"),
    ):
        op.execute(
            f"CREATE TRIGGER freezes_{name} BEFORE {event} ON freezes"
            f" FOR EACH {each} EXECUTE FUNCTION freezes_is_append_only()"
        )
