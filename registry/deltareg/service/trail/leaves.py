"""Rows of the database as leaves of the log, and its hashes as proofs need them."""

from functools import partial

import sqlalchemy as sa

from deltareg.db.access.rows import AuditRecordRow
from deltareg.db.trail import trail as queries
from deltareg.db.trail.rows import LeafRow
from deltareg.trail.leaves import leaf_of
from deltareg.trail.merkle import Read


def leaf_of_row(row: AuditRecordRow | LeafRow, *, statement: bytes = b"") -> dict[str, object]:
    """Build the leaf of a row as it is now."""
    fields = {
        "id": row.id,
        "at": row.created_at,
        "actor": row.actor,
        "token_id": row.token_id,
        "action": row.action,
        "subject": row.subject,
        "before": row.before,
        "after": row.after,
        "request_id": row.request_id,
    }
    return leaf_of(fields, statement=statement)


def hashes_in(conn: sa.Connection) -> Read:
    """Return a function that reads the hashes of the log in a transaction."""
    return partial(queries.hashes_of, conn)
