"""What others signed about versions is kept as it came; keys of signers can be revoked.

No version has a signature after this that it did not have before: none had.
"""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import append_only, drop_append_only

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "referrers",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("predicate_type", sa.Text(), nullable=False),
        sa.Column("keyid", sa.Text(), nullable=False),
        sa.Column("ca", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.CheckConstraint("form IN ('signature', 'attestation')", name=op.f("ck_referrers_form")),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_referrers_version_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_referrers_created_by"),
        sa.PrimaryKeyConstraint("id", name="pk_referrers"),
        sa.UniqueConstraint("version_id", "digest", name="uq_referrers_version_id_digest"),
    )
    op.create_table(
        "revoked_signers",
        sa.Column("keyid", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_revoked_signers_created_by"),
        sa.PrimaryKeyConstraint("keyid", name="pk_revoked_signers"),
    )
    for table in ("referrers", "revoked_signers"):
        append_only(table)


def downgrade() -> None:
    for table in ("revoked_signers", "referrers"):
        drop_append_only(table)
