"""The audit trail: appended to, read, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deltareg.db.access.rows import AuditRecordRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.subject_line import BELOW_LINES, subject_line
from deltareg.db.tables import audit, audit_places, namespaces


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows of the audit trail are asked for; None leaves a filter out.

    Attributes:
        actor: Who did it.
        action: What was done, `channel.promote`, or to what kind of thing, `channel`.
        subject: What it was done to; includes everything below it.
        namespace_id: The namespace that it is about.
        since: The first moment, microseconds since the epoch.
        until: The moment after the last one.
        by_parts: Whether a part of the words is enough, in any letter case.
    """

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    namespace_id: int | None = None
    since: int | None = None
    until: int | None = None
    by_parts: bool = False


def record_audit(
    conn: sa.Connection,
    *,
    actor: str,
    token_id: int | None,
    action: str,
    subject: str,
    before: object,
    after: object,
    request_id: str,
) -> int:
    """Append a row about a change, in the transaction of the change; return the row's id."""
    added = sa.insert(audit).values(
        actor=actor,
        token_id=token_id,
        action=action,
        subject=subject,
        before=before,
        after=after,
        request_id=request_id,
    )
    return int(conn.execute(added.returning(audit.c.id)).scalar_one())


def place_audit(conn: sa.Connection, audit_id: int, *, namespace: str) -> None:
    """Record which namespace a row is about, if there is one of that name."""
    found = sa.select(sa.literal(audit_id), namespaces.c.id).where(namespaces.c.name == namespace)
    conn.execute(sa.insert(audit_places).from_select(["audit_id", "namespace_id"], found))


def audit_rows(conn: sa.Connection, wanted: AuditFilter, *, before: int | None, limit: int) -> Sequence[AuditRecordRow]:
    """List rows, newest first, from before a row."""
    further = [] if before is None else [audit.c.id < before]
    ids = _matching(conn, wanted, *further, is_newest_first=True, limit=limit)
    query = sa.select(audit).where(audit.c.id.in_(ids)).order_by(audit.c.id.desc()).limit(limit)
    return fetch_all(conn, query, AuditRecordRow)


def audit_ids(conn: sa.Connection, wanted: AuditFilter, *, after: int, limit: int) -> list[int]:
    """Return the ids of rows, oldest first, from after a row."""
    ids = _matching(conn, wanted, audit.c.id > after, is_newest_first=False, limit=limit).subquery("matching")
    return list(conn.execute(sa.select(ids.c.id).order_by(ids.c.id).limit(limit)).scalars())


def namespace_of_audit(conn: sa.Connection, audit_id: int) -> str | None:
    """Return the present name of the namespace that a row is about, if it is about one."""
    query = (
        sa.select(namespaces.c.name)
        .join(audit_places, audit_places.c.namespace_id == namespaces.c.id)
        .where(audit_places.c.audit_id == audit_id)
    )
    return conn.execute(query).scalar()


def _matching(
    conn: sa.Connection, wanted: AuditFilter, *further: sa.ColumnElement[bool], is_newest_first: bool, limit: int
) -> sa.CompoundSelect[Any]:
    """Select the ids of the first rows that match in each way; no row matches in two.

    An index has the rows of one way in order, so as many are read as are listed.
    """
    query, order = sa.select(audit.c.id).where(*further), audit.c.id
    if wanted.namespace_id is not None:
        query = query.join(audit_places, audit_places.c.audit_id == audit.c.id)
        # Ordered by the index of this table, which has the rows of one namespace alone.
        query, order = query.where(audit_places.c.namespace_id == wanted.namespace_id), audit_places.c.audit_id
    if wanted.since is not None:
        query = query.where(audit.c.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(audit.c.created_at < wanted.until)
    if wanted.actor is not None:
        query = query.where(_is_word(audit.c.actor, wanted.actor, wanted))
    ways: Sequence[sa.ColumnElement[bool]] = [sa.true()]
    if wanted.action is not None and wanted.subject is None and wanted.namespace_id is None:
        ways = _actions(conn, wanted.action, wanted)
    elif wanted.action is not None:
        query = query.where(_is_action(wanted.action, wanted))
    if wanted.subject is not None:
        ways = _subjects(wanted.subject, wanted)
    query = query.order_by(order.desc() if is_newest_first else order).limit(limit)
    parts = [query.where(way).subquery() for way in ways or [sa.false()]]
    return sa.union_all(*(sa.select(part.c.id) for part in parts))


def _is_word(column: sa.ColumnElement[str], word: str, wanted: AuditFilter) -> sa.ColumnElement[bool]:
    return column.icontains(word, autoescape=True) if wanted.by_parts else column == word


def _subjects(word: str, wanted: AuditFilter) -> list[sa.ColumnElement[bool]]:
    """Return the ways in which a subject is a thing, or something below it."""
    column = audit.c.subject
    if wanted.by_parts:
        return [_is_word(column, word, wanted)]
    if not any(mark in word for mark in BELOW_LINES):
        return [subject_line(column) == word, _begins(column, f"{word}/")]
    return [column == word, *(_begins(column, word + mark) for mark in ("/", *BELOW_LINES))]


def _is_action(word: str, wanted: AuditFilter) -> sa.ColumnElement[bool]:
    """Whether an action is one, or one of a kind of thing, of rows that another index finds."""
    if wanted.by_parts:
        return _is_word(audit.c.action, word, wanted)
    action = sa.func.coalesce(audit.c.action, "")  # an expression, which no index has
    return action == word if "." in word else action.startswith(f"{word}.", autoescape=True)


def _actions(conn: sa.Connection, word: str, wanted: AuditFilter) -> list[sa.ColumnElement[bool]]:
    """Return the ways in which an action is one, or one of a kind of thing: each action that there is."""
    column = audit.c.action
    if wanted.by_parts or "." in word:
        return [_is_word(column, word, wanted)]
    return [column == action for action in conn.execute(_each_beginning(column, f"{word}.")).scalars()]


def _each_beginning(column: sa.Column[str], beginning: str) -> sa.Select[tuple[str]]:
    """Select the different values that begin so, by a look at an index for each."""
    least = sa.func.min(column)
    begins = _begins(column, beginning)
    values = sa.select(least.label("value")).where(begins).cte("each_value", recursive=True)
    # Two bounds and no third: SQLite would take the lower of two for its index.
    further = sa.and_(column > values.c.value, column < _end_of(beginning))
    following = sa.select(least).where(further).correlate(values).scalar_subquery()
    values = values.union_all(sa.select(following).where(values.c.value.is_not(None)))
    return sa.select(values.c.value).where(values.c.value.is_not(None))


def _begins(column: sa.Column[str], beginning: str) -> sa.ColumnElement[bool]:
    """Whether a text begins so, as a range: both databases compare these columns byte by byte."""
    return sa.and_(column >= beginning, column < _end_of(beginning))


def _end_of(beginning: str) -> str:
    """Return the first text after all that begin so."""
    return beginning[:-1] + chr(ord(beginning[-1]) + 1)
