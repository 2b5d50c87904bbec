"""What the audit trail has of a line, under the names that it had: each part by an index that has it in order."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.access.rows import AuditRecordRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.subject_line import subject_line
from deltareg.db.tables import audit
from deltareg.documents.json_values import is_object

_MOST_NAMES = 20
_SLACK = 16
"""Rows are numbered as they are written, and may be of a moment before that of the row before."""


@dataclass(frozen=True, slots=True)
class NameInTrail:
    """A name that a line had: `ns/name`, and the rows of the trail between which it had it.

    Attributes:
        name: The name.
        after: The row by which it got it, which is of it; 0 for the first one.
        before: The row by which it got the next one; None for the present one.
    """

    name: str
    after: int
    before: int | None


def names_in_trail(
    conn: sa.Connection, name: str, *, since: int, line_action: str, namespace_action: str
) -> Iterator[NameInTrail]:
    """Yield the names that a line had, the present one first.

    Args:
        conn: A transaction.
        name: Its present name, `ns/name`.
        since: When it was made, in microseconds since the epoch.
        line_action: What the trail calls the renaming of a line.
        namespace_action: What it calls that of a namespace.
    """
    upper: int | None = None
    for _ in range(_MOST_NAMES):
        namespace, _, own = name.partition("/")
        ways = ((line_action, name), (namespace_action, f"namespace/{namespace}"))
        found = [row for action, subject in ways if (row := _last(conn, action, subject, since, upper)) is not None]
        if not found:
            yield NameInTrail(name, 0, upper)
            return
        row = max(found, key=lambda each: each.id)
        yield NameInTrail(name, row.id, upper)
        was = str(row.before.get("name", "")) if is_object(row.before) else ""
        upper, name = row.id, was if row.action == line_action else f"{was}/{own}"


def rows_of(
    conn: sa.Connection,
    named: NameInTrail,
    actions: Collection[str],
    *,
    until: int | None,
    floor: int | None,
    limit: int,
) -> Sequence[AuditRecordRow]:
    """List rows about a line while it had a name, newest first.

    Args:
        conn: A transaction.
        named: The name.
        actions: Which.
        until: No rows of after this moment.
        floor: No rows of before this one.
        limit: How many, and some more.
    """
    # Expressions, which no index has: those of the line stand in their order in one index.
    action, at = sa.func.coalesce(audit.c.action, ""), sa.func.coalesce(audit.c.created_at, 0)
    query = sa.select(audit).where(subject_line(audit.c.subject) == named.name, action.in_(actions))
    if named.before is not None:
        query = query.where(audit.c.id < named.before)
    lowest = max(named.after, 0 if floor is None else _first_since(conn, floor))
    query = query.where(audit.c.id >= lowest)
    if until is not None:
        query = query.where(at <= until)
    return fetch_all(conn, query.order_by(audit.c.id.desc()).limit(limit + _SLACK), AuditRecordRow)


def row_by_id(conn: sa.Connection, audit_id: int) -> AuditRecordRow:
    """Return a row of the trail."""
    return fetch_all(conn, sa.select(audit).where(audit.c.id == audit_id), AuditRecordRow)[0]


def _last(conn: sa.Connection, action: str, subject: str, since: int, upper: int | None) -> AuditRecordRow | None:
    query = sa.select(audit).where(audit.c.subject == subject, sa.func.coalesce(audit.c.action, "") == action)
    query = query.where(sa.func.coalesce(audit.c.created_at, 0) >= since)
    if upper is not None:
        query = query.where(audit.c.id < upper)
    return next(iter(fetch_all(conn, query.order_by(audit.c.id.desc()).limit(1), AuditRecordRow)), None)


def _first_since(conn: sa.Connection, moment: int) -> int:
    """Return the first row of a moment or after it, less some."""
    query = sa.select(audit.c.id).where(audit.c.created_at >= moment).order_by(audit.c.created_at).limit(1)
    found = conn.execute(query).scalar()
    return 0 if found is None else max(int(found) - _SLACK, 0)
