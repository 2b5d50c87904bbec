"""The outbox: events that wait for a number, are read in order of their numbers, or are too old.

On PostgreSQL a row may be committed after one with a higher id, so ids cannot tell readers how far
they have read. Numbers can: one transaction at a time gives them to committed rows.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

import sqlalchemy as sa

from deltareg.db.access.in_sight import seen_names
from deltareg.db.access.sight import VisibleLines
from deltareg.db.events.rows import HeadRow, PublicEventRow, WaitingEventRow
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import audit, deliveries, deltas, event_head, namespaces, outbox, runs, verdicts, versions

_ONLY = 1
_LONGEST_DUE_US = 21 * 86_400 * US_PER_S


def add_event(conn: sa.Connection, audit_id: int, *, namespace: str | None, line: str | None) -> None:
    """Queue an audit row as an event, in the transaction that appends the row."""
    conn.execute(sa.insert(outbox).values(audit_id=audit_id, namespace=namespace, line=line))


def is_one_waiting(conn: sa.Connection) -> bool:
    """Whether an event has no number yet."""
    query = sa.select(outbox.c.id).where(outbox.c.number.is_(None)).limit(1)
    return conn.execute(query).first() is not None


def waiting_events(conn: sa.Connection, *, limit: int) -> Sequence[WaitingEventRow]:
    """Return the first events without a number, locked, in the order of their audit rows."""
    query = (
        sa.select(outbox.c.id, outbox.c.namespace, outbox.c.line, audit.c.action, audit.c.subject, audit.c.after)
        .join(audit, audit.c.id == outbox.c.audit_id)
        .where(outbox.c.number.is_(None))
        .order_by(outbox.c.audit_id)
        .limit(limit)
        .with_for_update(of=outbox)
    )
    return fetch_all(conn, query, WaitingEventRow)


def refs_of(conn: sa.Connection, *, of: str, ids: Iterable[str]) -> dict[str, tuple[str, str, int]]:
    """Return (namespace, line, number) of the versions of runs or verdicts, by their ids."""
    table = runs if of == "run" else verdicts
    query = (
        sa.select(table.c.id, namespaces.c.name, deltas.c.name, versions.c.number)
        .join(versions, versions.c.id == table.c.version_id)
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(table.c.id.in_(list(ids)))
    )
    return {row[0]: (row[1], row[2], row[3]) for row in conn.execute(query)}


def number_events(conn: sa.Connection, numbered: Sequence[tuple[int, int, str, str]]) -> None:
    """Set the numbers of events: row id, number, type and subject of each."""
    update = sa.update(outbox).where(outbox.c.id == sa.bindparam("row"))
    values = [
        {"row": row, "number": number, "type": kind, "subject": subject} for row, number, kind, subject in numbered
    ]
    conn.execute(update, values)


def head(conn: sa.Connection, *, lock: bool = False) -> HeadRow | None:
    """Return the last number and who delivers; None before the first event was numbered."""
    query = sa.select(event_head.c.source, event_head.c.number, event_head.c.holder, event_head.c.held_until).where(
        event_head.c.id == _ONLY
    )
    return fetch_one(conn, query.with_for_update() if lock else query, HeadRow)


def make_head(conn: sa.Connection, source: str) -> None:
    """Insert the row that counts numbers, unless it exists."""
    added = insert(conn, event_head).values(id=_ONLY, source=source, number=0, held_until=0)
    conn.execute(added.on_conflict_do_nothing(index_elements=["id"]))


def set_head(conn: sa.Connection, **values: object) -> None:
    """Update the last number or who delivers; the caller has locked the row."""
    conn.execute(sa.update(event_head).where(event_head.c.id == _ONLY).values(values))


def first_number(conn: sa.Connection) -> int | None:
    """Return the number of the oldest event that is still stored."""
    return conn.execute(sa.select(sa.func.min(outbox.c.number))).scalar()


def created_at_of(conn: sa.Connection, number: int) -> int | None:
    """Return when the event of a number was written."""
    return conn.execute(sa.select(outbox.c.created_at).where(outbox.c.number == number)).scalar()


def told_events(
    conn: sa.Connection,
    *,
    sight: VisibleLines | None,
    namespace: str | None = None,
    line: str | None = None,
    types: Sequence[str] = (),
    after: int = 0,
    until: int,
    limit: int,
    newest: bool = False,
) -> Sequence[PublicEventRow]:
    """Return the visible events after one number and up to another, in order.

    Args:
        conn: A transaction.
        sight: The lines that the caller may see; None for all.
        namespace: Only events of this namespace.
        line: Only events of this line of it.
        types: Only events of these types; a `*` stands for anything.
        after: The number before the first.
        until: The last number to look at.
        limit: How many at most.
        newest: Return the last ones up to the limit rather than the first.
    """
    number = outbox.c.number
    query = _select_told().where(number > after, number <= until, outbox.c.type != "")
    if sight is not None:
        query = query.where(seen_names(sight, outbox.c.namespace, outbox.c.line))
    if namespace is not None:
        query = query.where(outbox.c.namespace == namespace)
    if line is not None:
        query = query.where(outbox.c.line == line)
    if types:
        query = query.where(sa.or_(*(outbox.c.type.like(_like(each)) for each in types)))
    rows = fetch_all(conn, query.order_by(number.desc() if newest else number).limit(limit), PublicEventRow)
    return rows[::-1] if newest else rows


def told_event(conn: sa.Connection, event_id: int) -> PublicEventRow | None:
    """Find an event by its row id."""
    return fetch_one(conn, _select_told().where(outbox.c.id == event_id), PublicEventRow)


def oldest_event(conn: sa.Connection) -> int | None:
    """Return when the event of the oldest row was written; None if there is none."""
    first = sa.select(outbox.c.created_at).order_by(outbox.c.id).limit(1)
    return conn.execute(first).scalar()


def drop_events(conn: sa.Connection, *, before: int, limit: int) -> int:
    """Delete up to `limit` of the oldest events, if they are from before a time; return how many.

    Numbered events are deleted in order, so that the stored ones have no gaps. One that is still
    due to a webhook stays some weeks longer. Rows that another transaction has locked are left to
    it.
    """
    number = outbox.c.number
    first = first_number(conn)
    due = conn.execute(sa.select(sa.func.min(deliveries.c.number)).where(deliveries.c.state == "pending")).scalar()
    numbered = sa.select(outbox.c.id, outbox.c.created_at, number).where(number.is_not(None))
    if due is not None:
        is_very_old = outbox.c.created_at < before - _LONGEST_DUE_US
        numbered = numbered.where(sa.or_(number < due, is_very_old))
    oldest = conn.execute(numbered.order_by(number).limit(limit).with_for_update(skip_locked=True))
    rows = [row for at, row in enumerate(oldest) if first is not None and row.number == first + at]
    ids = [row.id for row in takewhile(lambda row: row.created_at < before, rows)]
    unnumbered = (
        sa.select(outbox.c.id, outbox.c.created_at)
        .where(number.is_(None))
        .order_by(outbox.c.id)
        .limit(limit - len(ids))
        .with_for_update(skip_locked=True)
    )
    ids += [row.id for row in conn.execute(unnumbered) if row.created_at < before]
    if ids:
        conn.execute(sa.delete(outbox).where(outbox.c.id.in_(ids)))
    return len(ids)


def _select_told() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(
        outbox.c.id,
        outbox.c.number,
        outbox.c.type,
        outbox.c.subject,
        outbox.c.namespace,
        outbox.c.line,
        outbox.c.created_at,
        audit.c.action,
        audit.c.actor,
        audit.c.before,
        audit.c.after,
    ).join(audit, audit.c.id == outbox.c.audit_id)


def _like(pattern: str) -> str:
    return pattern.replace("_", "?").replace("*", "%").replace("?", "_")
