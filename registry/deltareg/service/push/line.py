"""The line that a push goes to: found and locked, brought back, or made."""

import sqlalchemy as sa

from deltareg.db.lines import aliases as alias_queries
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines.rows import LineRow
from deltareg.errors import Conflict, UploadClosed
from deltareg.refs import LineRef
from deltareg.service.access.founding import found_namespace
from deltareg.service.authority.grants import Right
from deltareg.service.channels.channels import add_default_channels
from deltareg.service.events import Action
from deltareg.service.registry import Caller

_AGAIN = "run the same push again; what is stored already is not sent twice"


def lock_pushed(conn: sa.Connection, caller: Caller, line: LineRef) -> LineRow:
    """Lock the line that is pushed to; make it if it is new, and bring it back if it is deleted.

    Raises:
        Forbidden: The caller may not push there.
        UploadClosed: It lies in another namespace now.
        Conflict: The name leads on to a line that the caller may not push to.
    """
    row = delta_queries.delta_row(conn, line.namespace, line.name, lock=True)
    if row is not None:
        caller.require(Right.PUSH, on=line)  # somebody else may have made it since the first look
        if row.deleted_at is not None:  # its versions stay deleted; its next one brings it back
            delta_queries.set_deleted(conn, row.id, None)
            after: dict[str, object] = {"deleted": False, "versions": []}
            caller.record(conn, Action.LINE_RESTORE, str(line), on=line, before={"deleted": True}, after=after)
        return row
    moved = _find_moved(conn, caller, line)
    if moved is not None:
        return moved
    namespace = found_namespace(conn, caller, line)
    delta_queries.add_delta(conn, namespace, line.name, created_by=caller.principal_id)
    row = delta_queries.delta_row(conn, line.namespace, line.name, lock=True)
    if row is None:
        raise UploadClosed(f"{line} could not be made", fix=_AGAIN)
    add_default_channels(conn, row.id)
    return row


def _find_moved(conn: sa.Connection, caller: Caller, line: LineRef) -> LineRow | None:
    """Find the line that a former name leads to: it may have got another one since the push began.

    Raises:
        UploadClosed: It lies in another namespace now, and what was sent does not.
        Conflict: It leads to a line that the caller may not push to.
    """
    alias = alias_queries.alias_of_line(conn, line.namespace, line.name)
    if alias is None:
        return None
    now = LineRef(alias.to_namespace, alias.to_name)
    if not caller.may(Right.PUSH, on=now):
        raise Conflict(
            f"{line} is a former name of a line, and leads on to it",
            fix=f"choose another name, or let an owner of {line.namespace} free this one: deltareg rm {line}",
        )
    if now.namespace != line.namespace:
        raise UploadClosed(f"{line} is {now} now", fix=f"push it there: deltareg push PATH {now}")
    return delta_queries.delta_row(conn, now.namespace, now.name, lock=True)
