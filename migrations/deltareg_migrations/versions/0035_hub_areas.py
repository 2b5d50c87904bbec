"""What the Hugging Face Hub's clients send by Xet: areas, their xorbs and their tickets."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "hub_areas",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("principal_id", ROW_ID, nullable=False),
        sa.Column("touched_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hub_areas"),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], name="fk_hub_areas_principal_id"),
        sa.UniqueConstraint("name", name="uq_hub_areas_name"),
        sa.UniqueConstraint("line", "principal_id", name="uq_hub_areas_line_principal_id"),
    )
    for table in ("hub_staged", "hub_tickets"):
        op.add_column(table, sa.Column("area", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    # An area's tickets open nothing else; its xorbs are rows of objects, which a sweep deletes.
    op.execute(sa.text("DELETE FROM hub_tickets WHERE area <> ''"))
    op.execute(sa.text("UPDATE hub_staged SET state = 'gone' WHERE area <> ''"))
    for table in ("hub_tickets", "hub_staged"):
        op.drop_column(table, "area")
    op.drop_table("hub_areas")
