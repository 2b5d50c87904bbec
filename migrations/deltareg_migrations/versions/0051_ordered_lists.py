"""Indexes that serve the order and the filter of lists: versions, moves, runs and the audit trail.

Subjects and actions of the trail are compared byte by byte from now on, on PostgreSQL as on SQLite, so
that those with a beginning lie side by side in an index.
"""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

LINE = {
    "sqlite": "substr(subject, 1, min(instr(subject || ':', ':'), instr(subject || '@', '@')) - 1)",
    "postgresql": "split_part(split_part(subject, ':'::text, 1), '@'::text, 1)",
}
LIVE = "deleted_at IS NULL"
RARE_STATES = "state IN ('dead', 'cancelled')"
RARE_KINDS = "what IN ('reencode', 'compare', 'answer')"
_TABLES = {
    "ix_audit_action_id": ("audit", ["action", "id"], ""),
    "ix_versions_live_line": ("versions", ["delta_id", "number"], LIVE),
    "ix_versions_delta_id_created_at": ("versions", ["delta_id", "created_at"], ""),
    "ix_revisions_channel_id_created_at": ("revisions", ["channel_id", "created_at"], ""),
    "ix_runs_rare_states": ("runs", ["state", "created_at", "id"], RARE_STATES),
    "ix_runs_rare_kinds": ("runs", ["what", "created_at", "id"], RARE_KINDS),
}


def upgrade() -> None:
    _compare('COLLATE "C"')
    dialect = op.get_bind().dialect.name
    op.execute(f"CREATE INDEX ix_audit_line ON audit ({LINE[dialect].replace(':', chr(92) + ':')}, id)")
    for name, (table, columns, where) in _TABLES.items():
        only = sa.text(where) if where else None
        op.create_index(name, table, columns, sqlite_where=only, postgresql_where=only)
    _index_broken("channel_id", "break_glass", "id")


def downgrade() -> None:
    _index_broken("channel_id", "id")
    for name, (table, _, _) in reversed(_TABLES.items()):
        op.drop_index(name, table_name=table)
    op.drop_index("ix_audit_line", table_name="audit")
    _compare('COLLATE "default"')


def _index_broken(*columns: str) -> None:
    """Index the moves that somebody has to look at so that SQLite prefers it to one of all moves."""
    op.drop_index("ix_revisions_broken", table_name="revisions")
    op.create_index(
        "ix_revisions_broken",
        "revisions",
        list(columns),
        sqlite_where=sa.text("break_glass IS 1"),
        postgresql_where=sa.text("break_glass IS true"),
    )


def _compare(collation: str) -> None:
    """Compare texts of the trail otherwise: PostgreSQL makes indexes anew, and no row."""
    if op.get_bind().dialect.name == "postgresql":
        changes = ", ".join(f"ALTER COLUMN {name} TYPE TEXT {collation}" for name in ("action", "subject"))
        op.execute(f"ALTER TABLE audit {changes}")
