"""Deleting a line with all its versions, as one of them is deleted."""

import sqlalchemy as sa

from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import versions as queries
from deltareg.db.session import try_transaction, with_retry
from deltareg.db.sql.clock import read_clock
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.events import Action
from deltareg.service.lines.versions import refuse_if_needed
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.wire import LineState


def delete_line(registry: Registry, caller: Caller, line: LineRef, *, dry_run: bool = False) -> LineState:
    """Delete a line and its versions; its numbers are never used again, and its names stay its own.

    With `dry_run`, only check whether it could be deleted.

    Raises:
        Conflict: A channel serves one of its versions, or something else was made from one or
            stands on one.
    """
    caller.require(Right.ADMIN, on=line)

    def transaction(conn: sa.Connection) -> LineState:
        row = find_line(conn, caller, line, lock=True)
        live = [one for one in queries.all_of_line(conn, row.id) if one.deleted_at is None]
        beside = {one.id for one in live}
        at = read_clock(conn)
        for one in live:
            queries.lock_version(conn, one.id)
            refuse_if_needed(conn, caller, one, beside=beside)
            queries.delete_version(conn, one.id, at=at)
        delta_queries.set_deleted(conn, row.id, at)
        numbers = [one.number for one in live]
        before, after = {"deleted": False}, {"deleted": True, "versions": numbers}
        caller.record(conn, Action.LINE_DELETE, str(line), on=line, before=before, after=after)
        return LineState(ref=str(line), versions=numbers)

    return (try_transaction if dry_run else with_retry)(registry.engine, transaction)
