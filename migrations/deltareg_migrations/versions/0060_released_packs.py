"""Packs that something ceased to need, so that a collection need not look at all.

Triggers keep them, so that servers of the release before keep them as well while both run. They begin
with the packs that nothing needs.
"""

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import drop_functions, drop_triggers, follow

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NEEDS = ("version_packs", "base_packs", "form_packs")
NAME = "released"


def upgrade() -> None:
    op.create_table(
        "released_packs",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("pack_id", ROW_ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_released_packs"),
    )
    op.create_index("ix_released_packs_pack_id", "released_packs", ["pack_id"])
    for table in NEEDS:
        follow(table, "DELETE", "INSERT INTO released_packs (pack_id) VALUES (OLD.pack_id)", name=NAME)
    op.execute(
        "INSERT INTO released_packs (pack_id) SELECT p.id FROM packs AS p"
        " WHERE NOT EXISTS (SELECT 1 FROM version_packs AS n WHERE n.pack_id = p.id)"
        " AND NOT EXISTS (SELECT 1 FROM base_packs AS n WHERE n.pack_id = p.id)"
        " AND NOT EXISTS (SELECT 1 FROM form_packs AS n WHERE n.pack_id = p.id)"
    )


def downgrade() -> None:
    for table in NEEDS:
        drop_triggers(table, NAME)
        drop_functions(f"{table}_{NAME}_follows")
    op.drop_table("released_packs")
