"""Counting all that counts against limits anew, for fsck: what the triggers' sums have to equal."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from deltareg.db.quotas.rows import UsageRow
from deltareg.db.quotas.usage import this_month
from deltareg.db.tables import (
    deltas,
    hub_areas,
    hub_drafts,
    hub_staged,
    namespaces,
    packs,
    quota_usage,
    runs,
    upload_packs,
    uploads,
    versions,
)
from deltareg.db.tables.packs import UNADOPTED

CHARGED_RUNS = ("verify", "compare", "answer")
_Select = sa.Select[*tuple[Any, ...]]
_UNADOPTED = upload_packs.c.state.in_(["writing", "received"])
_OPEN = uploads.c.state == "open"


def recount(conn: sa.Connection) -> dict[str, UsageRow]:
    """Count anew what each holder uses, in a few passes over everything."""
    found: dict[str, UsageRow] = {}
    for count, query in _sums(conn.dialect.name):
        for holder, amount in conn.execute(query):
            row = found.get(holder) or UsageRow(holder)
            found[holder] = replace(row, **{count: getattr(row, count) + int(amount)})
    return {holder: row for holder, row in found.items() if row != UsageRow(holder)}


def live_pack_bytes(conn: sa.Connection) -> dict[str, int]:
    """Return, by scope, the bytes of its packs that are not marked for deletion.

    Triggers keep what a scope uses; what is no such pack of it is little, and taken off.
    """
    sending = upload_packs.join(uploads, uploads.c.id == upload_packs.c.upload_id)
    under_way = _sum(uploads.c.scope, -sa.func.coalesce(upload_packs.c.size_bytes, 0), sending)
    line = sa.literal("ns:") + _before_slash(hub_staged.c.line, conn.dialect.name)
    parts = sa.union_all(
        sa.select(quota_usage.c.holder, quota_usage.c.bytes).where(~quota_usage.c.holder.startswith("by:")),
        _sum(packs.c.scope, -packs.c.size_bytes, packs).where(packs.c.state == "deleting"),
        under_way.where(_OPEN, UNADOPTED, _UNADOPTED),  # the first has an index
        _sum(line, -hub_staged.c.size_bytes, hub_staged),
    )
    found: dict[str, int] = {}
    for scope, size in conn.execute(parts):
        found[scope] = found.get(scope, 0) + int(size)
    return {scope: size for scope, size in found.items() if size}


def _sums(dialect: str) -> Iterator[tuple[str, _Select]]:
    """Yield, by count, queries for holders and their sums."""
    sender = sa.select(upload_packs.c.physical_key, uploads.c.principal_id).join(
        uploads, uploads.c.id == upload_packs.c.upload_id
    )
    sent = sender.subquery()
    packed = packs.join(sent, sent.c.physical_key == packs.c.physical_key)
    yield "bytes", _sum(packs.c.scope, packs.c.size_bytes, packs)
    yield "bytes", _sum(_by(sent.c.principal_id), packs.c.size_bytes, packed)
    sending = upload_packs.join(uploads, uploads.c.id == upload_packs.c.upload_id)
    under_way = sa.func.coalesce(upload_packs.c.size_bytes, 0)
    for holder in (uploads.c.scope, _by(uploads.c.principal_id)):
        yield "bytes", _sum(holder, under_way, sending).where(_OPEN, _UNADOPTED)
        yield "uploads", _sum(holder, sa.literal(1), uploads).where(_OPEN)
    in_line = versions.join(deltas, deltas.c.id == versions.c.delta_id)
    in_line = in_line.join(namespaces, namespaces.c.id == deltas.c.namespace_id)
    in_namespace = deltas.join(namespaces, namespaces.c.id == deltas.c.namespace_id)
    scope = sa.literal("ns:") + namespaces.c.name
    for table, source, count in ((versions, in_line, "versions"), (deltas, in_namespace, "lines")):
        for holder in (scope, _by(table.c.created_by)):
            yield count, _sum(holder, sa.literal(1), source).where(table.c.deleted_at.is_(None))
    for table, count in ((hub_staged, "bytes"), (hub_drafts, "drafts"), (hub_areas, "drafts")):
        amount = table.c.size_bytes if table is hub_staged else sa.literal(1)
        for holder in (sa.literal("ns:") + _before_slash(table.c.line, dialect), _by(table.c.principal_id)):
            yield count, _sum(holder, amount, table)
    took = runs.c.finished_at - runs.c.started_at
    of_run = runs.outerjoin(namespaces, namespaces.c.id == runs.c.namespace_id)
    for holder in (scope, _by(runs.c.created_by)):
        yield (
            "run_us",
            _sum(holder, took, of_run).where(
                runs.c.what.in_(CHARGED_RUNS), took > 0, _month_of(runs.c.finished_at, dialect) == this_month()
            ),
        )


def _sum(holder: sa.ColumnElement[str], amount: sa.ColumnElement[int], source: sa.FromClause) -> _Select:
    total = sa.cast(sa.func.sum(amount), sa.BigInteger)
    return sa.select(holder, total).select_from(source).where(holder.is_not(None)).group_by(holder)


def _by(principal_id: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
    return sa.literal_column("'by:'", sa.Text) + sa.cast(principal_id, sa.Text)


def _before_slash(column: sa.ColumnElement[str], dialect: str) -> sa.ColumnElement[str]:
    if dialect == "postgresql":
        return sa.func.split_part(column, "/", 1)
    return sa.func.substr(column, 1, sa.func.instr(column, "/") - 1)


def _month_of(moment: sa.ColumnElement[int | None], dialect: str) -> sa.ColumnElement[str]:
    seconds = moment / 1_000_000
    if dialect == "postgresql":
        return sa.func.to_char(sa.func.timezone("UTC", sa.func.to_timestamp(seconds)), "YYYY-MM")
    return sa.func.strftime("%Y-%m", seconds, "unixepoch")
