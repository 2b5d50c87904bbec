"""The audit trail: appended to, read, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deltareg.db.access.rows import AuditRecordRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import audit, audit_places, namespaces

_BELOW = ("/", ":", "@")


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
    query = _matching(sa.select(audit), wanted).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    return fetch_all(conn, query, AuditRecordRow)


def audit_ids(conn: sa.Connection, wanted: AuditFilter, *, after: int, limit: int) -> list[int]:
    """Return the ids of rows, oldest first, from after a row."""
    query = _matching(sa.select(audit.c.id), wanted).where(audit.c.id > after).order_by(audit.c.id).limit(limit)
    return list(conn.execute(query).scalars())


def namespace_of_audit(conn: sa.Connection, audit_id: int) -> str | None:
    """Return the present name of the namespace that a row is about, if it is about one."""
    query = (
        sa.select(namespaces.c.name)
        .join(audit_places, audit_places.c.namespace_id == namespaces.c.id)
        .where(audit_places.c.audit_id == audit_id)
    )
    return conn.execute(query).scalar()


def _matching(query: sa.Select[*tuple[Any, ...]], wanted: AuditFilter) -> sa.Select[*tuple[Any, ...]]:
    if wanted.namespace_id is not None:
        query = query.join(audit_places, audit_places.c.audit_id == audit.c.id)
        # Ordered by the index of this table, which has the rows of one namespace alone.
        query = query.where(audit_places.c.namespace_id == wanted.namespace_id)
    if wanted.since is not None:
        query = query.where(audit.c.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(audit.c.created_at < wanted.until)
    for condition in (_actor(wanted), _action(wanted), _subject(wanted)):
        query = query if condition is None else query.where(condition)
    return query


def _actor(wanted: AuditFilter) -> sa.ColumnElement[bool] | None:
    column, word = audit.c.actor, wanted.actor
    if word is None:
        return None
    return column.icontains(word, autoescape=True) if wanted.by_parts else column == word


def _action(wanted: AuditFilter) -> sa.ColumnElement[bool] | None:
    column, word = audit.c.action, wanted.action
    if word is None:
        return None
    if wanted.by_parts:
        return column.icontains(word, autoescape=True)
    return column == word if "." in word else column.startswith(f"{word}.", autoescape=True)


def _subject(wanted: AuditFilter) -> sa.ColumnElement[bool] | None:
    column, word = audit.c.subject, wanted.subject
    if word is None:
        return None
    if wanted.by_parts:
        return column.icontains(word, autoescape=True)
    below = [column.startswith(f"{word}{mark}", autoescape=True) for mark in _BELOW]
    return sa.or_(column == word, *below)
