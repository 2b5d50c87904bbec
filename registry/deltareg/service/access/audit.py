"""Reading the audit trail: all of it for admins, what is about a namespace for its owners."""

from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.access.trusts import claims_of
from deltareg.db.session import read
from deltareg.db.trail.audit import AuditFilter, audit_rows
from deltareg.service.access.members import check_seen
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.clock import parse_time, rfc3339
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.workflow import describe_workflow
from deltareg.wire import AuditRow, Page


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """What is asked of the audit trail, as people write it; None leaves a filter out.

    Attributes:
        namespace: The namespace that it is about; None for all, and what lies in none.
        actor: Who did it.
        action: What was done, `channel.promote`, or to what kind of thing, `channel`.
        subject: What it was done to; includes everything below it.
        since: The first moment, RFC 3339, or a date (UTC).
        until: The moment after the last one.
    """

    namespace: str | None = None
    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: str | None = None
    until: str | None = None


def list_audit(
    registry: Registry, caller: Caller, query: AuditQuery, *, cursor: str | None, limit: int, by_parts: bool = False
) -> Page[AuditRow]:
    """List who did what, newest first.

    Args:
        registry: The database and the store.
        caller: Who asks: an admin of everything, or an owner of the namespace that is asked about.
        query: What is asked for.
        cursor: Where the page begins.
        limit: How many rows to return.
        by_parts: Whether a part of the words is enough, in any letter case.

    Raises:
        Forbidden: The caller may not read that.
        InvalidInput: A time is none.
        NotFound: The caller sees no such namespace.
    """
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        wanted = filter_for(conn, caller, query, by_parts=by_parts)
        rows = audit_rows(conn, wanted, before=before, limit=check_limit(limit) + 1)
        claims = claims_of(conn, [row.token_id for row in rows])
    return page(
        rows,
        limit,
        key=lambda row: row.id,
        show=lambda row: AuditRow(
            id=row.id,
            at=rfc3339(row.created_at),
            actor=row.actor,
            token_id=row.token_id,
            action=row.action,
            subject=row.subject,
            before=row.before,
            after=row.after,
            request_id=row.request_id,
            via=describe_workflow(claims.get(row.token_id or 0)),
        ),
    )


def filter_for(conn: sa.Connection, caller: Caller, query: AuditQuery, *, by_parts: bool = False) -> AuditFilter:
    """Check that the caller may read what it asks for, and return that as a filter.

    Raises:
        Forbidden: It owns no such namespace, or is no admin of everything.
        InvalidInput: A time is none.
        NotFound: It sees no such namespace.
    """
    namespace_id: int | None = None
    if query.namespace is None:
        caller.require(Right.ADMIN, on=EVERYTHING)
    else:
        name = caller.current_namespace(query.namespace)
        namespace_id = check_seen(conn, caller, name)
        caller.require(Right.ADMIN, on=Namespace(name))
    return AuditFilter(
        actor=query.actor,
        action=query.action,
        subject=query.subject,
        namespace_id=namespace_id,
        since=None if query.since is None else parse_time(query.since),
        until=None if query.until is None else parse_time(query.until),
        by_parts=by_parts,
    )
