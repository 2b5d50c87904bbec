"""Reading the audit trail."""

from deltareg.db.session import read
from deltareg.db.trail.audit import audit_rows
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.clock import rfc3339
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.wire import AuditRow, Page


def list_audit(
    registry: Registry,
    caller: Caller,
    *,
    actor: str | None,
    action: str | None,
    subject: str | None,
    cursor: str | None,
    limit: int,
    by_parts: bool = False,
) -> Page[AuditRow]:
    """List who did what, newest first; only admins of everything may ask.

    Args:
        registry: The database and the store.
        caller: Who asks.
        actor: Who did it.
        action: What was done, by the name of its `Action`.
        subject: What it was done to; includes everything below it.
        cursor: Where the page begins.
        limit: How many rows to return.
        by_parts: Whether a part of these words is enough, in any letter case.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        rows = audit_rows(
            conn,
            actor=actor,
            action=action,
            subject=subject,
            before=before,
            limit=check_limit(limit) + 1,
            by_parts=by_parts,
        )
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
        ),
    )
