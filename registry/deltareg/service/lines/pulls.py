"""Who pulled a version and when last: a help for whoever wants to remove or deprecate it.

A pull is bytes of a version that were given out, over the API or the hub interface. All of one
principal within an hour count as one. A worker that verifies is no pull.
"""

import logging

from sqlalchemy.exc import SQLAlchemyError

from deltareg.db.lines.pulls import PullRow, pulls_of
from deltareg.db.session import read
from deltareg.errors import DeltaregError
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Right
from deltareg.service.clock import rfc3339
from deltareg.service.registry import ANONYMOUS, Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.wire import VersionPulls
from deltareg.wire.versions import PullerInfo

log = logging.getLogger(__name__)

_BY_WORK = (Right.PUSH, Right.PROMOTE, Right.APPROVE, Right.ADMIN)


def note_pull(registry: Registry, caller: Caller, version_id: int) -> None:
    """Note that bytes of a version are given to a caller; it is written later."""
    if not caller.is_worker:
        registry.pulls.note(version_id, caller.principal_id)


def show_pulls(registry: Registry, caller: Caller, ref: Ref) -> VersionPulls:
    """Show how often a version was pulled and when last; a bare `ns/name` means the newest.

    Who pulled it is shown to those who push, approve, promote or administer there. Others who may
    read it see their own pulls by name, and of the rest only how many.

    Raises:
        NotFound: The caller sees no such version.
    """
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        version_id = find_version(conn, caller, ref, bare="newest").id
    _write(registry)
    with read(registry.engine) as conn:
        rows = pulls_of(conn, version_id)
    shown = [row for row in rows if _shows_name(caller, ref.line, row)]
    return VersionPulls(
        pulls=sum(row.number for row in rows),
        pullers=len(rows),
        last_at=rfc3339(rows[0].last_at) if rows else None,
        by=[
            PullerInfo(principal=row.principal or ANONYMOUS, pulls=row.number, last_at=rfc3339(row.last_at))
            for row in shown
        ],
    )


def _shows_name(caller: Caller, line: LineRef, row: PullRow) -> bool:
    if any(caller.may(right, on=line) for right in _BY_WORK):
        return True
    return row.principal == caller.principal and not caller.is_anonymous


def _write(registry: Registry) -> None:
    """Write this server's own notes first; what cannot be written now is shown later."""
    try:
        registry.pulls.write(registry.engine)
    except (DeltaregError, SQLAlchemyError) as error:
        log.warning("pulls are not written yet, it is tried again: %s", error)
