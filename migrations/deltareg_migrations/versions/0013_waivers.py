"""Waivers: somebody answers for a failed check of a verdict, until a time.

A waiver may be ended early, which the application may write; the rest of it never changes, and the
database itself refuses it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FIXED = "verdict_id, check_name, reason, expires_at, created_at, actor_id"


def upgrade() -> None:
    op.create_table(
        "waivers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("verdict_id", sa.Text(), nullable=False),
        sa.Column("check_name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("actor_id", ROW_ID, nullable=False),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("revoked_by", ROW_ID),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_waivers_reason")),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdicts.id"], name="fk_waivers_verdict_id"),
        sa.ForeignKeyConstraint(["actor_id"], ["principals.id"], name="fk_waivers_actor_id"),
        sa.ForeignKeyConstraint(["revoked_by"], ["principals.id"], name="fk_waivers_revoked_by"),
        sa.PrimaryKeyConstraint("id", name="pk_waivers"),
    )
    op.create_index("ix_waivers_verdict_id", "waivers", ["verdict_id"])
    refuse_changes()


def downgrade() -> None:
    op.drop_table("waivers")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION waivers_are_kept()")


def refuse_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for event in (f"UPDATE OF {FIXED}", "DELETE"):
            op.execute(
                f"CREATE TRIGGER waivers_no_{event.split()[0].lower()} BEFORE {event} ON waivers"
                " BEGIN SELECT RAISE(ABORT, 'waivers are kept as they were given'); END"
            )
        op.execute(
            "CREATE TRIGGER waivers_end_once BEFORE UPDATE ON waivers"
            " WHEN OLD.revoked_at IS NOT NULL"
            " BEGIN SELECT RAISE(ABORT, 'waivers are kept as they were given'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION waivers_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'waivers are kept as they were given' USING ERRCODE = '23001'; END $$"
    )
    for name, event, each in (
        ("no_update", f"UPDATE OF {FIXED} ON waivers", "ROW"),
        ("no_delete", "DELETE ON waivers", "ROW"),
        ("no_truncate", "TRUNCATE ON waivers", "STATEMENT"),
    ):
        op.execute(f"CREATE TRIGGER waivers_{name} BEFORE {event} FOR EACH {each} EXECUTE FUNCTION waivers_are_kept()")
    op.execute(
        "CREATE TRIGGER waivers_end_once BEFORE UPDATE ON waivers FOR EACH ROW"
        " WHEN (OLD.revoked_at IS NOT NULL) EXECUTE FUNCTION waivers_are_kept()"
    )
