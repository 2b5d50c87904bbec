"""Principals take turns inside a namespace, and bases that could not be measured are remembered.

Runs that wait keep the order that they had: all have turn 0 inside their namespace, and the oldest
goes first. On the way down, what was remembered is forgotten; it is found out again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ACTIVE = sa.text("state IN ('queued', 'running')")
DEAD = sa.text("state = 'dead'")
RUNNING = sa.text("state = 'running'")
SERVED = sa.text("started_at IS NOT NULL")
INDEXES = (
    ("ix_runs_next_inside", ("namespace_id", "priority", "turn_inside", "created_at", "id"), ACTIVE),
    ("ix_runs_lane_inside", ("namespace_id", "created_by", "priority", "turn_inside"), ACTIVE),
    ("ix_runs_served_inside", ("namespace_id", "priority", "turn_inside"), SERVED),
    ("ix_runs_held", ("lease_holder",), RUNNING),
    ("ix_runs_dead", ("namespace_id", "finished_at"), DEAD),
)


def upgrade() -> None:
    op.add_column("runs", sa.Column("turn_inside", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    for name, columns, where in INDEXES:
        op.create_index(name, "runs", list(columns), sqlite_where=where, postgresql_where=where)
    op.create_table(
        "unmeasured_bases",
        sa.Column("base_id", ROW_ID, nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", ROW_ID),
        sa.ForeignKeyConstraint(["base_id"], ["bases.id"], name="fk_unmeasured_bases_base_id"),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name="fk_unmeasured_bases_created_by"),
        sa.PrimaryKeyConstraint("base_id", "device", name="pk_unmeasured_bases"),
    )


def downgrade() -> None:
    op.drop_table("unmeasured_bases")
    for name, _, _ in reversed(INDEXES):
        op.drop_index(name, "runs")
    op.drop_column("runs", "turn_inside")
