"""Parts of the audit trail for an auditor: rows with the proofs that they are in the log."""

from deltareg.db.session import read
from deltareg.db.trail import trail as queries
from deltareg.db.trail.audit import audit_ids
from deltareg.service.access.audit import AuditQuery, filter_for
from deltareg.service.paging import check_limit, cursor_at, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.trail.proofs import newest_checkpoint, prove_leaf
from deltareg.wire import TrailExcerpt


def read_excerpt(
    registry: Registry, caller: Caller, query: AuditQuery, *, cursor: str | None, limit: int
) -> TrailExcerpt:
    """Return rows that match, oldest first, each with the proof that it is in the log.

    Args:
        registry: The database and the store.
        caller: Who asks: an admin of everything, or an owner of the namespace that is asked about.
        query: What is asked for.
        cursor: Where the part begins.
        limit: How many rows to return.

    Raises:
        Forbidden: The caller may not read that.
        NotFound: Nothing is sealed yet, or the caller sees no such namespace.
    """
    after, limit = read_number_cursor(cursor) or 0, check_limit(limit)
    with read(registry.engine) as conn:
        wanted = filter_for(conn, caller, query)
        newest = newest_checkpoint(conn, rotations=True)
        ids = audit_ids(conn, wanted, after=after, limit=limit)
        sealed = [row for row in queries.leaves_of_rows(conn, ids) if row.id is not None and row.position < newest.size]
        rows = [prove_leaf(conn, row, newest.size) for row in sealed]
    return TrailExcerpt(
        checkpoint=newest,
        rows=rows,
        unsealed=len(ids) - len(rows),
        after=cursor_at(ids[-1]) if len(ids) == limit else None,
    )
