"""What lines store, so that nobody adds up all packs to say where the bytes are.

A pack counts for the oldest that needs it; a share says whether that is its holder. Triggers write down what
changes, so that servers of the release before do as well while both run. It begins with all that is there.
"""

# ruff: noqa: S608  # the SQL is made of this file's own words

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import drop_functions, drop_triggers, follow

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OF_VERSION = ("versions", "logical_bytes", "manifest_bytes", "map_bytes")
OF_SHARE = ("referenced_bytes", "referenced_payload", "alone_bytes", "alone_payload")
FIGURES = (*OF_VERSION, "pack_bytes", *OF_SHARE, "shared_bytes")
NAME = "storage"
SHARES = ("version_shares", "base_shares")
TRIGGERS = (
    ("versions", "storage_insert"),
    ("versions", "storage_update"),
    *((table, f"storage_{event}") for table in SHARES for event in ("insert", "delete")),
    ("deleted_bases", "storage"),
)
_CHANGED = "(NEW.deleted_at IS NULL) <> (OLD.deleted_at IS NULL)"


def upgrade() -> None:
    _make_tables()
    _follow_versions()
    _follow_shares()
    _begin()


def downgrade() -> None:
    for table, name in TRIGGERS:
        drop_triggers(table, name)
        drop_functions(f"{table}_{name}_follows")
    op.drop_index("ix_versions_largest", "versions")
    op.drop_index("ix_version_shares_owner", "version_shares")
    op.drop_column("version_shares", "is_owner")
    op.drop_column("base_shares", "is_owner")
    op.drop_table("storage_changes")
    op.drop_table("line_storage")


def _make_tables() -> None:
    op.create_table(
        "line_storage",
        sa.Column("delta_id", ROW_ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        *_figures(),
        sa.ForeignKeyConstraint(["delta_id"], ["deltas.id"], name="fk_line_storage_delta_id"),
        sa.PrimaryKeyConstraint("delta_id", "kind", name="pk_line_storage"),
    )
    op.create_table(
        "storage_changes",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("pack_id", ROW_ID),
        sa.Column("delta_id", ROW_ID),
        sa.Column("kind", sa.Text()),
        *_figures(),
        sa.PrimaryKeyConstraint("id", name="pk_storage_changes"),
    )
    for table in SHARES:
        op.add_column(table, sa.Column("is_owner", sa.Boolean()))
    is_live = sa.text("deleted_at IS NULL")
    op.create_index(
        "ix_versions_largest", "versions", ["delta_id", "stored_bytes"], sqlite_where=is_live, postgresql_where=is_live
    )


def _figures() -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")) for name in FIGURES]


def _follow_versions() -> None:
    now, before = _of_version("NEW"), _of_version("OLD")
    change = [f"{ours} - {theirs}" for ours, theirs in zip(now, before, strict=True)]
    differs = " OR ".join(f"{ours} <> {theirs}" for ours, theirs in zip(now, before, strict=True))
    add = f"INSERT INTO storage_changes (delta_id, kind, {', '.join(OF_VERSION)}) SELECT NEW.delta_id, NEW.kind"
    follow("versions", "INSERT", f"{add}, {', '.join(now)} WHERE NEW.deleted_at IS NULL", name=f"{NAME}_insert")
    of_base = "SELECT b.base_id FROM version_bases AS b WHERE b.version_id = NEW.id"
    statements = (
        f"{add}, {', '.join(change)} WHERE {differs}",
        _take_away("NEW.delta_id, NEW.kind", "version_shares AS s", f"s.version_id = NEW.id AND {_CHANGED}"),
        f"UPDATE version_shares SET is_owner = NULL WHERE version_id = NEW.id AND is_owner IS NOT NULL AND {_CHANGED}",
        f"INSERT INTO storage_changes (pack_id) SELECT s.pack_id FROM base_shares AS s"
        f" WHERE s.base_id IN ({of_base}) AND {_CHANGED}",
        f"UPDATE base_shares SET is_owner = NULL WHERE base_id IN ({of_base}) AND {_CHANGED}",
    )
    event = "UPDATE OF deleted_at, logical_bytes, manifest, storage_map"
    follow("versions", event, "; ".join(statements), name=f"{NAME}_update")


def _follow_shares() -> None:
    for table in SHARES:
        added = "INSERT INTO storage_changes (pack_id) VALUES (NEW.pack_id)"
        follow(table, "INSERT", added, name=f"{NAME}_insert")
    shares = ", ".join(f"OLD.{name} AS {name}" for name in OF_SHARE)
    gone = f"(SELECT OLD.pack_id AS pack_id, OLD.is_owner AS is_owner, {shares}) AS s, versions AS v"
    counted = "v.id = OLD.version_id AND OLD.is_owner IS NOT NULL"
    follow("version_shares", "DELETE", _take_away("v.delta_id, v.kind", gone, counted), name=f"{NAME}_delete")
    left = "INSERT INTO storage_changes (pack_id) SELECT OLD.pack_id WHERE OLD.is_owner IS NOT NULL"
    follow("base_shares", "DELETE", left, name=f"{NAME}_delete")
    statements = (
        "INSERT INTO storage_changes (pack_id) SELECT s.pack_id FROM base_shares AS s WHERE s.base_id = NEW.base_id",
        "UPDATE base_shares SET is_owner = NULL WHERE base_id = NEW.base_id",
    )
    follow("deleted_bases", "INSERT", "; ".join(statements), name=NAME)


def _begin() -> None:
    """Say of each share whose pack it is, and add up."""
    owners = (
        "SELECT h.is_base, h.holder, h.pack_id, ROW_NUMBER() OVER"
        " (PARTITION BY h.pack_id ORDER BY h.created_at, h.is_base, h.holder) = 1 AS is_first FROM ("
        "SELECT 0 AS is_base, v.id AS holder, s.pack_id, v.created_at FROM version_shares AS s"
        " JOIN versions AS v ON v.id = s.version_id WHERE v.deleted_at IS NULL"
        " UNION ALL SELECT 1, b.id, s.pack_id, b.created_at FROM base_shares AS s JOIN bases AS b ON b.id = s.base_id"
        " WHERE NOT EXISTS (SELECT 1 FROM deleted_bases AS d WHERE d.base_id = b.id) AND NOT EXISTS"
        " (SELECT 1 FROM version_bases AS w JOIN versions AS v ON v.id = w.version_id"
        " WHERE w.base_id = b.id AND v.deleted_at IS NOT NULL)) AS h"
    )
    for table, own, is_base in (("version_shares", "version_id", 0), ("base_shares", "base_id", 1)):
        op.execute(
            f"UPDATE {table} SET is_owner = o.is_first FROM ({owners}) AS o"
            f" WHERE o.is_base = {is_base} AND o.holder = {table}.{own} AND o.pack_id = {table}.pack_id"
        )
    rest = FIGURES[len(OF_VERSION) :]
    of_versions = _name_each([*_of_version("v"), *("0" for _ in rest)])
    of_shares = _name_each([*("0" for _ in OF_VERSION), *_count_share(1)])
    op.execute(
        f"INSERT INTO line_storage (delta_id, kind, {', '.join(FIGURES)})"
        f" SELECT x.delta_id, x.kind, {', '.join(f'SUM(x.{name})' for name in FIGURES)} FROM ("
        f"SELECT v.delta_id, v.kind, {of_versions} FROM versions AS v WHERE v.deleted_at IS NULL"
        f" UNION ALL SELECT v.delta_id, v.kind, {of_shares} FROM version_shares AS s"
        " JOIN versions AS v ON v.id = s.version_id JOIN packs AS p ON p.id = s.pack_id"
        " WHERE v.deleted_at IS NULL) AS x GROUP BY x.delta_id, x.kind"
    )
    is_sought = sa.text("is_owner IS NULL OR is_owner")
    op.create_index(
        "ix_version_shares_owner", "version_shares", ["pack_id"], sqlite_where=is_sought, postgresql_where=is_sought
    )


def _name_each(figures: list[str]) -> str:
    return ", ".join(f"{figure} AS {name}" for figure, name in zip(figures, FIGURES, strict=True))


def _of_version(row: str) -> list[str]:
    """Return what a version counts, or nothing of one that is deleted."""
    figures = ("1", f"{row}.logical_bytes", f"length({row}.manifest)", f"length({row}.storage_map)")
    return [f"(CASE WHEN {row}.deleted_at IS NULL THEN {figure} ELSE 0 END)" for figure in figures]


def _count_share(by: int) -> list[str]:
    """Return what a share counts: of its own pack all of it, of another's what it decodes to."""
    own = [f"(CASE WHEN s.is_owner THEN {by} * {figure} ELSE 0 END)" for figure in ("p.size_bytes", *_shares())]
    return [*own, f"(CASE WHEN NOT s.is_owner THEN {by} * (s.referenced_bytes + s.alone_bytes) ELSE 0 END)"]


def _shares() -> list[str]:
    return [f"s.{name}" for name in OF_SHARE]


def _take_away(of: str, shares: str, where: str) -> str:
    """Take away what shares counted, and have their packs looked at again."""
    return (
        f"INSERT INTO storage_changes (pack_id, delta_id, kind, {', '.join(FIGURES[len(OF_VERSION) :])})"
        f" SELECT s.pack_id, {of}, {', '.join(_count_share(-1))} FROM {shares}, packs AS p"
        f" WHERE p.id = s.pack_id AND {where}"
    )
