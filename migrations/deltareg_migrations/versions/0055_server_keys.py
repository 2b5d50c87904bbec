"""Which key servers sign with: one at a time, which they share, sealed where they have a key to seal with.

Servers of the release before go on with the keys that lie in their files. The way down forgets which key
is the current one, and a sealed key with it: name its file in `DELTAREG_SIGNING_KEY`, or begin anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "server_keys",
        sa.Column("keyid", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer()),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("audit_id", ROW_ID),
        sa.CheckConstraint("slot = 1", name="slot"),
        sa.ForeignKeyConstraint(["keyid"], ["signing_keys.keyid"], name="fk_server_keys_keyid"),
        sa.ForeignKeyConstraint(["audit_id"], ["audit.id"], name="fk_server_keys_audit_id"),
        sa.PrimaryKeyConstraint("keyid", name="pk_server_keys"),
        sa.UniqueConstraint("slot", name="uq_server_keys_slot"),
    )


def downgrade() -> None:
    op.drop_table("server_keys")
