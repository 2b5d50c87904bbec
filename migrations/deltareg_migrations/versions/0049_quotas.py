"""Quotas: limits, what counts against them, and who was warned.

What is used is counted by triggers, in the transaction of whatever changes it, so that servers of
the release before count as well while both run. The counts begin with all that is there.
"""

# ruff: noqa: S608  # the SQL is made of this file's own words

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from alembic import op

from deltareg_migrations.triggers import drop_functions, drop_triggers, follow

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

COUNTS = ("bytes", "versions", "lines", "drafts", "uploads")
UNADOPTED = "state IN ('writing', 'received')"
CHARGED_RUNS = "('verify', 'compare', 'answer')"


@dataclass(frozen=True, slots=True)
class Counted:
    """What rows of a table add to a count, in SQL over `{r}`, which stands for a row.

    Attributes:
        table: The table.
        columns: The columns that decide: their updates are followed.
        count: The column of the usage.
        amount: How much a row adds.
        holders: Whom it is added to, each by itself: a namespace's scope, or a principal.
    """

    table: str
    columns: str
    count: str
    amount: str
    holders: tuple[str, ...]


def count_rules() -> Iterator[Counted]:
    """Yield all that is counted: rows of bytes in the store, and things by number."""
    payer = (
        "(SELECT 'by:' || u.principal_id FROM upload_packs AS k JOIN uploads AS u ON u.id = k.upload_id"
        " WHERE k.physical_key = {r}.physical_key)"
    )
    yield Counted("packs", "scope, size_bytes, physical_key", "bytes", "{r}.size_bytes", ("{r}.scope", payer))
    of_open = "(SELECT %s FROM uploads AS u WHERE u.id = {r}.upload_id AND u.state = 'open')"
    yield Counted(
        "upload_packs",
        "state, size_bytes",
        "bytes",
        f"CASE WHEN {{r}}.{UNADOPTED} THEN COALESCE({{r}}.size_bytes, 0) ELSE 0 END",
        (of_open % "u.scope", of_open % "'by:' || u.principal_id"),
    )
    sent = (
        f"(SELECT COALESCE(SUM(k.size_bytes), 0) FROM upload_packs AS k WHERE k.upload_id = {{r}}.id AND k.{UNADOPTED})"
    )
    pusher = ("{r}.scope", "'by:' || {r}.principal_id")
    for count, amount in (("uploads", "1"), ("bytes", sent)):
        yield Counted(
            "uploads", "state, scope", count, f"CASE WHEN {{r}}.state = 'open' THEN {amount} ELSE 0 END", pusher
        )
    standing = "CASE WHEN {r}.deleted_at IS NULL THEN 1 ELSE 0 END"
    maker = "'by:' || {r}.created_by"
    of_line = (
        "(SELECT 'ns:' || n.name FROM deltas AS d JOIN namespaces AS n ON n.id = d.namespace_id"
        " WHERE d.id = {r}.delta_id)"
    )
    yield Counted("versions", "deleted_at", "versions", standing, (of_line, maker))
    of_namespace = "(SELECT 'ns:' || n.name FROM namespaces AS n WHERE n.id = {r}.namespace_id)"
    yield Counted("deltas", "deleted_at, namespace_id", "lines", standing, (of_namespace, maker))
    on_hub = (f"'ns:' || {before_slash('{r}.line')}", "'by:' || {r}.principal_id")
    yield Counted("hub_staged", "line, size_bytes", "bytes", "{r}.size_bytes", on_hub)
    for table in ("hub_drafts", "hub_areas"):
        yield Counted(table, "line", "drafts", "1", on_hub)


def upgrade() -> None:
    op.create_table(
        "quotas",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("most", sa.BigInteger()),
        sa.PrimaryKeyConstraint("holder", "resource", name="pk_quotas"),
    )
    op.create_table(
        "quota_usage",
        sa.Column("holder", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")) for name in COUNTS),
        sa.Column("month", sa.Text(), nullable=False, server_default=""),
        sa.Column("run_us", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("holder", name="pk_quota_usage"),
    )
    op.create_table(
        "quota_warnings",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("holder", "resource", name="pk_quota_warnings"),
    )
    for table, event, statements in _triggers():
        follow(table, event, "; ".join(statements), name=_name(event))
    for one in count_rules():
        for holder in one.holders:
            _execute(_fill(one, holder))
    for holder in _payers_of_runs("r"):
        _execute(_add_time(holder, "r", "SUM(r.finished_at - r.started_at)", "FROM runs AS r", f"GROUP BY {holder}"))


def downgrade() -> None:
    for table, event, _ in _triggers():
        drop_triggers(table, _name(event))
        drop_functions(f"{table}_{_name(event)}_follows")
    for table in ("quota_warnings", "quota_usage", "quotas"):
        op.drop_table(table)


def before_slash(column: str) -> str:
    """Return SQL for the namespace in `ns/name`."""
    if op.get_bind().dialect.name == "postgresql":
        return f"split_part({column}, '/', 1)"
    return f"substr({column}, 1, instr({column}, '/') - 1)"


def _triggers() -> list[tuple[str, str, list[str]]]:
    """List table, event and statements of each trigger."""
    by_event: dict[tuple[str, str], list[str]] = {}
    for one in count_rules():
        for holder in one.holders:
            new, old = holder.format(r="NEW"), holder.format(r="OLD")
            more, less = one.amount.format(r="NEW"), one.amount.format(r="OLD")
            by_event.setdefault((one.table, "INSERT"), []).append(_add(one.count, new, more))
            by_event.setdefault((one.table, "DELETE"), []).append(_add(one.count, old, f"-({less})"))
            by_event.setdefault((one.table, f"UPDATE OF {one.columns}"), []).extend(
                [
                    _add(one.count, old, f"CASE WHEN {new} = {old} THEN ({more}) - ({less}) ELSE -({less}) END"),
                    _add(one.count, new, f"CASE WHEN {new} = {old} THEN 0 ELSE ({more}) END"),
                ]
            )
    triggers = [(table, event, statements) for (table, event), statements in by_event.items()]
    return [*triggers, *_of_moves(), *_of_runs()]


def _of_moves() -> list[tuple[str, str, list[str]]]:
    """Take counts along that are kept by the namespace's name, where a line or a name moves."""
    number = "(SELECT COUNT(*) FROM versions AS v WHERE v.delta_id = NEW.id AND v.deleted_at IS NULL)"
    place = "(SELECT 'ns:' || n.name FROM namespaces AS n WHERE n.id = {}.namespace_id)"
    of_line = [
        _add(
            "versions", place.format("OLD"), f"CASE WHEN NEW.namespace_id = OLD.namespace_id THEN 0 ELSE -{number} END"
        ),
        _add(
            "versions", place.format("NEW"), f"CASE WHEN NEW.namespace_id = OLD.namespace_id THEN 0 ELSE {number} END"
        ),
    ]
    before, after = "'ns:' || OLD.name", "'ns:' || NEW.name"
    of_name = [
        "INSERT INTO quota_usage (holder, versions, lines, month, run_us)"
        f" SELECT {after}, u.versions, u.lines, u.month, u.run_us FROM quota_usage AS u"
        f" WHERE u.holder = {before} AND NEW.name <> OLD.name"
        " ON CONFLICT (holder) DO UPDATE SET versions = quota_usage.versions + excluded.versions,"
        " lines = quota_usage.lines + excluded.lines, month = excluded.month, run_us = excluded.run_us",
        f"UPDATE quota_usage SET versions = 0, lines = 0, run_us = 0 WHERE holder = {before} AND NEW.name <> OLD.name",
    ]
    for table in ("quotas", "quota_warnings"):
        of_name += [
            f"DELETE FROM {table} WHERE holder = {after} AND NEW.name <> OLD.name",
            f"UPDATE {table} SET holder = {after} WHERE holder = {before} AND NEW.name <> OLD.name",
        ]
    return [("deltas", "UPDATE OF namespace_id", of_line), ("namespaces", "UPDATE OF name", of_name)]


def _of_runs() -> list[tuple[str, str, list[str]]]:
    """Charge a run once it has ended; what this month ended goes with its line to another namespace."""
    took = "NEW.finished_at - NEW.started_at"
    first, moves = "OLD.finished_at IS NULL", "OLD.namespace_id <> NEW.namespace_id"
    ended = [_add_time(holder, "NEW", took, only=first) for holder in _payers_of_runs("NEW")]
    left, taken = (_payers_of_runs(row)[0] for row in ("OLD", "NEW"))
    moved = [_add_time(left, "NEW", f"-({took})", only=moves), _add_time(taken, "NEW", took, only=moves)]
    return [("runs", "UPDATE OF finished_at", ended), ("runs", "UPDATE OF namespace_id", moved)]


def _payers_of_runs(row: str) -> tuple[str, str]:
    return (
        f"(SELECT 'ns:' || n.name FROM namespaces AS n WHERE n.id = {row}.namespace_id)",
        f"'by:' || {row}.created_by",
    )


def _add(count: str, holder: str, amount: str) -> str:
    """Add to a count, without a lock on the row where there is nothing to add."""
    return (
        f"INSERT INTO quota_usage (holder, {count}) SELECT {holder}, {amount}"
        f" WHERE {holder} IS NOT NULL AND ({amount}) <> 0"
        f" ON CONFLICT (holder) DO UPDATE SET {count} = quota_usage.{count} + excluded.{count}"
    )


def _add_time(holder: str, row: str, amount: str, source: str = "", grouped: str = "", *, only: str = "TRUE") -> str:
    """Add the time of finished runs to this month's; what another month counted is left behind."""
    return (
        f"INSERT INTO quota_usage (holder, month, run_us) SELECT {holder}, {_month()}, {amount} {source}"
        f" WHERE {holder} IS NOT NULL AND {row}.what IN {CHARGED_RUNS} AND {row}.started_at IS NOT NULL"
        f" AND {row}.finished_at > {row}.started_at AND {_month(f'{row}.finished_at')} = {_month()}"
        f" AND {only} {grouped}"
        " ON CONFLICT (holder) DO UPDATE SET month = excluded.month, run_us = excluded.run_us"
        " + CASE WHEN quota_usage.month = excluded.month THEN quota_usage.run_us ELSE 0 END"
    )


def _month(column: str = "") -> str:
    """Return SQL for the month, YYYY-MM in UTC, of a time in microseconds; now without one."""
    if op.get_bind().dialect.name == "postgresql":
        moment = f"to_timestamp({column} / 1000000)" if column else "clock_timestamp()"
        return f"to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM')"
    return f"strftime('%Y-%m', {column} / 1000000, 'unixepoch')" if column else "strftime('%Y-%m', 'now')"


def _fill(one: Counted, holder: str) -> str:
    return (
        f"INSERT INTO quota_usage (holder, {one.count}) SELECT f.holder, SUM(f.amount) FROM"
        f" (SELECT {holder.format(r='r')} AS holder, {one.amount.format(r='r')} AS amount FROM {one.table} AS r) AS f"
        " WHERE f.holder IS NOT NULL AND f.amount <> 0 GROUP BY f.holder"
        f" ON CONFLICT (holder) DO UPDATE SET {one.count} = quota_usage.{one.count} + excluded.{one.count}"
    )


def _name(event: str) -> str:
    return "counted_" + event.lower().removeprefix("update of ").replace(", ", "_")


def _execute(sql: str) -> None:
    connection = op.get_bind()
    connection.exec_driver_sql(sql.replace("%", "%%") if connection.dialect.name == "postgresql" else sql)
