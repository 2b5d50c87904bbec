"""Workers and the server have keys, and what they say is kept as they signed it.

Verdicts of before have no envelope: they are read on, and promotions do not rest on them any more.
"""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import TriggerRule, append_only, drop_append_only, drop_functions, refuse

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVE_WORKER = sa.text("role = 'worker' AND retired_at IS NULL AND revoked_at IS NULL")
KEPT = (
    TriggerRule(
        "whose a key is does not change",
        """NEW.role <> OLD.role OR NEW.name <> OLD.name OR NEW.keyid <> OLD.keyid
            OR NEW.public <> OLD.public OR NEW.host <> OLD.host
            OR NEW.created_at <> OLD.created_at
            OR COALESCE(NEW.principal_id, 0) <> COALESCE(OLD.principal_id, 0)""",
    ),
    TriggerRule(
        "the end of a key is written once",
        """(OLD.revoked_at IS NOT NULL AND COALESCE(NEW.revoked_at, 0) <> OLD.revoked_at)
            OR (OLD.retired_at IS NOT NULL AND COALESCE(NEW.retired_at, 0) <> OLD.retired_at)""",
    ),
)


def upgrade() -> None:
    create_keys()
    create_signed()


def downgrade() -> None:
    op.drop_table("lease_keys")
    for table in ("summaries", "disputes", "verdict_envelopes", "signing_keys"):
        drop_append_only(table)
    drop_functions("signing_keys_kept_rules")


def create_keys() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("principal_id", ROW_ID),
        sa.Column("keyid", sa.Text(), nullable=False),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False, server_default=""),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.Column("retired_at", sa.BigInteger()),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("revoked_by", ROW_ID),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.CheckConstraint("role IN ('worker', 'server')", name=op.f("ck_signing_keys_role")),
        sa.CheckConstraint("role <> 'worker' OR principal_id IS NOT NULL", name=op.f("ck_signing_keys_owned")),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_signing_keys_principal_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_signing_keys_created_by"),
        sa.ForeignKeyConstraint(["revoked_by"], ["principals.id"], name="fk_signing_keys_revoked_by"),
        sa.PrimaryKeyConstraint("id", name="pk_signing_keys"),
        sa.UniqueConstraint("keyid", name="uq_signing_keys_keyid"),
        sa.UniqueConstraint("public", name="uq_signing_keys_public"),
    )
    op.create_index(
        "uq_signing_keys_live_worker",
        "signing_keys",
        ["principal_id"],
        unique=True,
        sqlite_where=LIVE_WORKER,
        postgresql_where=LIVE_WORKER,
    )
    refuse("signing_keys", "UPDATE", KEPT, name="kept")
    append_only("signing_keys", changes=("DELETE",))


def create_signed() -> None:
    op.create_table(
        "lease_keys",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("public", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_lease_keys_run_id"),
        sa.PrimaryKeyConstraint("run_id", name="pk_lease_keys"),
    )
    op.create_table(
        "verdict_envelopes",
        sa.Column("verdict_id", sa.Text(), nullable=False),
        sa.Column("key_id", ROW_ID),
        sa.Column("keyid", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdicts.id"], name="fk_verdict_envelopes_verdict_id"),
        sa.ForeignKeyConstraint(["key_id"], ["signing_keys.id"], name="fk_verdict_envelopes_key_id"),
        sa.PrimaryKeyConstraint("verdict_id", name="pk_verdict_envelopes"),
    )
    op.create_index("ix_verdict_envelopes_key_id", "verdict_envelopes", ["key_id"])
    op.create_table(
        "disputes",
        sa.Column("verdict_id", sa.Text(), nullable=False),
        sa.Column("other_id", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdicts.id"], name="fk_disputes_verdict_id"),
        sa.ForeignKeyConstraint(["other_id"], ["verdicts.id"], name="fk_disputes_other_id"),
        sa.PrimaryKeyConstraint("verdict_id", name="pk_disputes"),
    )
    op.create_table(
        "summaries",
        sa.Column("revision_id", ROW_ID, nullable=False),
        sa.Column("keyid", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name="fk_summaries_revision_id"),
        sa.PrimaryKeyConstraint("revision_id", name="pk_summaries"),
    )
    for table in ("verdict_envelopes", "disputes", "summaries"):
        append_only(table)
