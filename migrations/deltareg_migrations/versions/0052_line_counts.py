"""What is kept of lines: how many versions they have on which base, and their verdicts in order.

Triggers keep both, so that servers of the release before keep them as well while both run. They begin
with all that is there.
"""

# ruff: noqa: S608  # the SQL is made of this file's own words

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import drop_functions, drop_triggers, follow

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FIGURES = ("versions", "trained", "logical_bytes", "stored_bytes")
OF_VERSION = "UPDATE OF base_id, deleted_at, logical_bytes, stored_bytes"
TRIGGERS = (
    ("versions", "INSERT", "line_insert"),
    ("versions", OF_VERSION, "line_update"),
    ("version_variants", "INSERT", "line_insert"),
    ("verdicts", "INSERT", "line_insert"),
)


def upgrade() -> None:
    _make_tables()
    statements = (
        _add("NEW", "1"),
        "; ".join((_add("OLD", "-1"), _add("NEW", "1"), *_add_trained_again())),
        _add_trained("NEW.base_id", "1", "v.id = NEW.version_id AND v.deleted_at IS NULL"),
        "INSERT INTO line_verdicts (delta_id, created_at, verdict_id)"
        " SELECT v.delta_id, NEW.created_at, NEW.id FROM versions AS v WHERE v.id = NEW.version_id",
    )
    for (table, event, name), statement in zip(TRIGGERS, statements, strict=True):
        follow(table, event, statement, name=name)
    op.execute(
        "INSERT INTO line_counts (delta_id, base_id, versions, logical_bytes, stored_bytes)"
        " SELECT delta_id, COALESCE(base_id, 0), COUNT(*), SUM(logical_bytes), SUM(stored_bytes) FROM versions"
        " WHERE deleted_at IS NULL GROUP BY delta_id, COALESCE(base_id, 0)"
    )
    op.execute(
        "INSERT INTO line_counts (delta_id, base_id, trained) SELECT v.delta_id, t.base_id, COUNT(*)"
        " FROM version_variants AS t JOIN versions AS v ON v.id = t.version_id WHERE v.deleted_at IS NULL"
        f" GROUP BY v.delta_id, t.base_id ON CONFLICT (delta_id, base_id) DO UPDATE SET {_sum('trained')}"
    )
    op.execute(
        "INSERT INTO line_verdicts (delta_id, created_at, verdict_id) SELECT v.delta_id, w.created_at, w.id"
        " FROM verdicts AS w JOIN versions AS v ON v.id = w.version_id"
    )


def downgrade() -> None:
    for table, _, name in TRIGGERS:
        drop_triggers(table, name)
        drop_functions(f"{table}_{name}_follows")
    op.drop_table("line_verdicts")
    op.drop_table("line_counts")


def _make_tables() -> None:
    op.create_table(
        "line_counts",
        sa.Column("delta_id", ROW_ID, nullable=False),
        sa.Column("base_id", ROW_ID, nullable=False, autoincrement=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")) for name in FIGURES),
        sa.ForeignKeyConstraint(["delta_id"], ["deltas.id"], name="fk_line_counts_delta_id"),
        sa.PrimaryKeyConstraint("delta_id", "base_id", name="pk_line_counts"),
    )
    op.create_index("ix_line_counts_base_id", "line_counts", ["base_id"])
    op.create_table(
        "line_verdicts",
        sa.Column("delta_id", ROW_ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("verdict_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["delta_id"], ["deltas.id"], name="fk_line_verdicts_delta_id"),
        sa.PrimaryKeyConstraint("delta_id", "created_at", "verdict_id", name="pk_line_verdicts"),
        sqlite_with_rowid=False,
    )


def _add(row: str, by: str) -> str:
    """Add a version to the counts of its line, or take it away, where it is not deleted."""
    figures = f"{by}, {by} * {row}.logical_bytes, {by} * {row}.stored_bytes"
    return (
        "INSERT INTO line_counts (delta_id, base_id, versions, logical_bytes, stored_bytes)"
        f" SELECT {row}.delta_id, COALESCE({row}.base_id, 0), {figures} WHERE {row}.deleted_at IS NULL"
        f" ON CONFLICT (delta_id, base_id) DO UPDATE SET {_sum('versions', 'logical_bytes', 'stored_bytes')}"
    )


def _add_trained_again() -> list[str]:
    """Count a version that is deleted or restored under the variant that it was trained on."""
    is_now = "(CASE WHEN NEW.deleted_at IS NULL THEN 1 ELSE -1 END)"
    changes = "v.id = NEW.id AND (NEW.deleted_at IS NULL) <> (OLD.deleted_at IS NULL)"
    return [_add_trained("t.base_id", is_now, changes, "JOIN version_variants AS t ON t.version_id = v.id")]


def _add_trained(base_id: str, by: str, where: str, join: str = "") -> str:
    return (
        f"INSERT INTO line_counts (delta_id, base_id, trained) SELECT v.delta_id, {base_id}, {by}"
        f" FROM versions AS v {join} WHERE {where}"
        f" ON CONFLICT (delta_id, base_id) DO UPDATE SET {_sum('trained')}"
    )


def _sum(*names: str) -> str:
    return ", ".join(f"{name} = line_counts.{name} + excluded.{name}" for name in names)
