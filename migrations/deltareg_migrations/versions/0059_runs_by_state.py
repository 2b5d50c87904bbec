"""Runs of all states but the common one, `done`, are listed by an index, those that wait as well."""

import sqlalchemy as sa
from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _index("'queued', 'running', 'dead', 'cancelled'")


def downgrade() -> None:
    _index("'dead', 'cancelled'")


def _index(states: str) -> None:
    op.drop_index("ix_runs_rare_states", "runs")
    only = sa.text(f"state IN ({states})")
    op.create_index(
        "ix_runs_rare_states", "runs", ["state", "created_at", "id"], sqlite_where=only, postgresql_where=only
    )
