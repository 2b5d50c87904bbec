"""Trusts: whose workflows get a token without a stored secret, and what they have used already.

On the way down they are dropped, and tokens that were exchanged are revoked, since the release before
would list them as tokens that somebody made.
"""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "trusts",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("namespace_id", ROW_ID, nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID, nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("ended_by", ROW_ID),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_trusts_namespace_id"),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_trusts_principal_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_trusts_created_by"),
        sa.ForeignKeyConstraint(["ended_by"], ["principals.id"], name="fk_trusts_ended_by"),
        sa.CheckConstraint("provider IN ('github', 'gitlab', 'oidc')", name="provider"),
        sa.PrimaryKeyConstraint("id", name="pk_trusts"),
    )
    op.create_index("ix_trusts_issuer", "trusts", ["issuer"])
    op.create_index("ix_trusts_namespace_id", "trusts", ["namespace_id"])
    op.create_table(
        "used_assertions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("trust_id", ROW_ID, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["trust_id"], ["trusts.id"], name="fk_used_assertions_trust_id"),
        sa.PrimaryKeyConstraint("digest", name="pk_used_assertions"),
    )
    op.create_index("ix_used_assertions_expires_at", "used_assertions", ["expires_at"])
    op.add_column("tokens", sa.Column("claims", sa.JSON()))
    op.add_column("tokens", sa.Column("trust_id", ROW_ID))
    op.create_index("ix_tokens_trust_id", "tokens", ["trust_id"])
    op.add_column("revisions", sa.Column("token_id", ROW_ID))


def downgrade() -> None:
    op.drop_column("revisions", "token_id")
    op.drop_index("ix_tokens_trust_id", "tokens")
    op.execute("UPDATE tokens SET revoked_at = created_at WHERE trust_id IS NOT NULL AND revoked_at IS NULL")
    op.drop_column("tokens", "trust_id")
    op.drop_column("tokens", "claims")
    op.drop_table("used_assertions")
    op.drop_table("trusts")
