"""Identities at providers, sign-ins, and what is under way of them.

On the way down the tokens of sign-ins are revoked: the release before would take them, and would ask
no provider whether they still hold.
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _identities()
    _sign_ins()
    _device_requests()
    _sign_in_attempts()
    _logout_tokens()


def downgrade() -> None:
    tokens = sa.table("tokens", sa.column("id"), sa.column("revoked_at"))
    sign_ins = sa.table("sign_ins", sa.column("token_id"))
    revoke = sa.update(tokens).where(tokens.c.id.in_(sa.select(sign_ins.c.token_id)), tokens.c.revoked_at.is_(None))
    op.get_bind().execute(revoke.values(revoked_at=time.time_ns() // 1000))
    for table in ("logout_tokens", "sign_in_attempts", "device_requests", "sign_ins", "identities"):
        op.drop_table(table)


def _identities() -> None:
    op.create_table(
        "identities",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_identities_principal_id"),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.UniqueConstraint("issuer", "subject", name="uq_identities_issuer_subject"),
    )
    op.create_index("ix_identities_principal_id", "identities", ["principal_id"])


def _sign_ins() -> None:
    op.create_table(
        "sign_ins",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("identity_id", ROW_ID, nullable=False),
        sa.Column("token_id", ROW_ID, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("sid", sa.Text()),
        sa.Column("refresh", sa.LargeBinary()),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("held_until", sa.BigInteger()),
        sa.ForeignKeyConstraint(["identity_id"], ["identities.id"], name="fk_sign_ins_identity_id"),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name="fk_sign_ins_token_id"),
        sa.PrimaryKeyConstraint("id", name="pk_sign_ins"),
        sa.UniqueConstraint("token_id", name="uq_sign_ins_token_id"),
    )
    op.create_index("ix_sign_ins_identity_id", "sign_ins", ["identity_id"])
    op.create_index("ix_sign_ins_sid", "sign_ins", ["sid"])


def _device_requests() -> None:
    op.create_table(
        "device_requests",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("device_hash", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("token_id", ROW_ID),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name="fk_device_requests_token_id"),
        sa.PrimaryKeyConstraint("id", name="pk_device_requests"),
        sa.UniqueConstraint("device_hash", name="uq_device_requests_device_hash"),
        sa.UniqueConstraint("code_hash", name="uq_device_requests_code_hash"),
    )
    op.create_index("ix_device_requests_expires_at", "device_requests", ["expires_at"])


def _sign_in_attempts() -> None:
    op.create_table(
        "sign_in_attempts",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("state_hash", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("next", sa.Text(), nullable=False),
        sa.Column("device_id", ROW_ID),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device_requests.id"], name="fk_sign_in_attempts_device_id"),
        sa.PrimaryKeyConstraint("id", name="pk_sign_in_attempts"),
        sa.UniqueConstraint("state_hash", name="uq_sign_in_attempts_state_hash"),
    )
    op.create_index("ix_sign_in_attempts_expires_at", "sign_in_attempts", ["expires_at"])


def _logout_tokens() -> None:
    op.create_table(
        "logout_tokens",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_logout_tokens"),
        sa.UniqueConstraint("issuer", "jti", name="uq_logout_tokens_issuer_jti"),
    )
    op.create_index("ix_logout_tokens_expires_at", "logout_tokens", ["expires_at"])
