"""The audit trail: appended to, read, never changed."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.access.rows import AuditRecordRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import audit


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


def audit_rows(
    conn: sa.Connection,
    *,
    actor: str | None,
    action: str | None,
    subject: str | None,
    before: int | None,
    limit: int,
    by_parts: bool = False,
) -> Sequence[AuditRecordRow]:
    """List rows, newest first; `subject` matches itself and everything below it.

    With `by_parts` each filter matches any value that contains it, ignoring case.
    """
    query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
    for column, word in ((audit.c.actor, actor), (audit.c.action, action)):
        if word is not None:
            holds = column.icontains(word, autoescape=True)
            query = query.where(holds if by_parts else column == word)
    if subject is not None:
        matches = audit.c.subject.icontains if by_parts else audit.c.subject.startswith
        query = query.where(matches(subject, autoescape=True))
    if before is not None:
        query = query.where(audit.c.id < before)
    return fetch_all(conn, query, AuditRecordRow)
