"""What counts against limits. Triggers keep it in the transactions that change it (record 105)."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from deltareg.db.quotas.rows import UsageRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.tables import packs, principals, quota_usage, quota_warnings, upload_packs, uploads

COUNTS = ("bytes", "versions", "lines", "drafts", "uploads")


class this_month(GenericFunction[str]):  # noqa: N801  (reads as the SQL function that it is)
    """The month now, YYYY-MM in UTC, by the database's clock."""

    type = sa.Text()
    inherit_cache = True
    name = "deltareg_this_month"


@compiles(this_month, "sqlite")
def _this_month_sqlite(_element: this_month, _compiler: SQLCompiler, **_kw: object) -> str:
    return "strftime('%Y-%m', 'now')"


@compiles(this_month, "postgresql")
def _this_month_postgresql(_element: this_month, _compiler: SQLCompiler, **_kw: object) -> str:
    return "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM')"


def lock_usage(conn: sa.Connection, holders: Collection[str]) -> None:
    """Lock the counts of holders until the transaction ends.

    Everybody locks scopes before principals, as the triggers do.
    """
    if conn.dialect.name == "sqlite" or not holders:
        return  # who writes is alone
    ordered = sorted(holders, key=lambda holder: (holder.startswith("by:"), holder))
    for holder in ordered:
        conn.execute(insert(conn, quota_usage).values(holder=holder).on_conflict_do_nothing())
        conn.execute(sa.select(quota_usage.c.holder).where(quota_usage.c.holder == holder).with_for_update())


def holders_of_packs(conn: sa.Connection, pack_ids: Collection[int]) -> set[str]:
    """Return the holders that packs count against: their scopes, and whoever uploaded them.

    Lock their counts before the packs, as a push does: the triggers write to them once a pack changes.
    """
    holders: set[str] = set()
    for part in batches(sorted(pack_ids)):
        query = (
            sa.select(packs.c.scope, uploads.c.principal_id)
            .outerjoin(upload_packs, upload_packs.c.physical_key == packs.c.physical_key)
            .outerjoin(uploads, uploads.c.id == upload_packs.c.upload_id)
            .where(packs.c.id.in_(part))
            .distinct()
        )
        for scope, payer in conn.execute(query):
            holders |= {scope} if payer is None else {scope, f"by:{payer}"}
    return holders


def usage_rows(conn: sa.Connection, holders: Collection[str] | None = None) -> dict[str, UsageRow]:
    """Return the counts of some holders, or of all, by holder; who has none is left out."""
    is_now = quota_usage.c.month == this_month()
    query = sa.select(
        quota_usage.c.holder,
        *(quota_usage.c[name] for name in COUNTS),
        sa.case((is_now, quota_usage.c.run_us), else_=0).label("run_us"),
    )
    if holders is not None:
        query = query.where(quota_usage.c.holder.in_(sorted(holders)))
    return {row.holder: row for row in fetch_all(conn, query, UsageRow)}


def holders_within(conn: sa.Connection, beginning: str) -> list[str]:
    """List the holders whose name begins so: scopes, or principals."""
    column = quota_usage.c.holder
    return list(conn.execute(sa.select(column).where(column.startswith(beginning))).scalars())


def people_counted(conn: sa.Connection, *, also: Collection[int], after: str | None, limit: int) -> dict[str, int]:
    """Return principals that something counts against, and others, by name: the first ones after a name.

    Args:
        conn: A transaction.
        also: The others.
        after: The name after which the list continues.
        limit: How many at most.
    """
    holder = sa.literal("by:") + sa.cast(principals.c.id, sa.Text)
    is_counted = holder.in_(sa.select(quota_usage.c.holder))
    name: sa.ColumnElement[str] = principals.c.name
    if conn.dialect.name == "postgresql":  # as Python orders, and SQLite
        name = name.collate("C")
    query = sa.select(principals.c.id, principals.c.name).where(sa.or_(is_counted, principals.c.id.in_(sorted(also))))
    if after is not None:
        query = query.where(name > after)
    return {row.name: row.id for row in conn.execute(query.order_by(name).limit(limit))}


def set_usage(conn: sa.Connection, row: UsageRow) -> None:
    """Replace the counts of a holder, which the caller has locked."""
    values: dict[str, object] = {name: getattr(row, name) for name in COUNTS}
    values |= {"run_us": row.run_us, "month": this_month()}
    added = insert(conn, quota_usage).values(holder=row.holder, **values)
    conn.execute(added.on_conflict_do_update(index_elements=["holder"], set_=values))


def add_warning(conn: sa.Connection, holder: str, resource: str) -> bool:
    """Record that a holder is near a limit; return False if that was on record."""
    row = {"holder": holder, "resource": resource, "created_at": now_us()}
    added = insert(conn, quota_warnings).values(row).on_conflict_do_nothing().returning(quota_warnings.c.holder)
    return conn.execute(added).scalar() is not None


def end_warnings(conn: sa.Connection, far: Mapping[str, Collection[str]]) -> None:
    """Forget that holders were near these limits."""
    for holder, resources in far.items():
        warnings = quota_warnings.c
        conn.execute(
            sa.delete(quota_warnings).where(warnings.holder == holder, warnings.resource.in_(sorted(resources)))
        )
