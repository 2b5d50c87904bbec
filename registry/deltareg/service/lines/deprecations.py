"""Deprecating a version or a line: whoever takes it is warned, and told what to use instead.

Nothing is refused. A successor that is deprecated itself is no successor, so that they lead on in a
few steps and never in a circle.
"""

import sqlalchemy as sa

from deltareg.db.lines import deltas as line_queries
from deltareg.db.lines import versions as queries
from deltareg.db.session import with_retry
from deltareg.db.sql.clock import read_clock
from deltareg.errors import Blocked, Conflict, InvalidInput
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Resource
from deltareg.service.clock import rfc3339
from deltareg.service.deleted import refuse_deleted
from deltareg.service.describe import deprecation_of, describe_version, line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.lines.veil import veil_base
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line, find_version
from deltareg.wire import Deprecate, LineState, VersionInfo


def deprecate_version(registry: Registry, caller: Caller, ref: Ref, request: Deprecate) -> VersionInfo:
    """Deprecate a version, or without a reason take that back.

    Raises:
        Forbidden: The caller may not promote on the line.
        NotFound: The caller sees no such version, or no such successor.
        Conflict: The successor is deprecated itself.
        InvalidInput: The version is to be its own successor.
    """
    caller.require(Right.PROMOTE, on=ref.line)

    def transaction(conn: sa.Connection) -> VersionInfo:
        version_id = find_version(conn, caller, ref, bare="newest").id
        queries.lock_version(conn, version_id)
        row = queries.version_by_id(conn, version_id)
        refuse_deleted(row)
        said = _say(conn, caller, request, of=ref_of(row))
        queries.set_deprecation(conn, row.id, said)
        _record(conn, caller, ref_of(row), on=line_of(row), before=row.deprecation is not None, said=said)
        return veil_base(caller, describe_version(conn, queries.version_by_id(conn, row.id)))

    return with_retry(registry.engine, transaction)


def deprecate_line(registry: Registry, caller: Caller, line: LineRef, request: Deprecate) -> LineState:
    """Deprecate a line, all its versions and those to come, or without a reason take that back.

    Raises:
        As in `deprecate_version`.
    """
    caller.require(Right.PROMOTE, on=line)

    def transaction(conn: sa.Connection) -> LineState:
        row = find_line(conn, caller, line, lock=True)
        said = _say(conn, caller, request, of=str(line))
        line_queries.set_deprecation(conn, row.id, said)
        _record(conn, caller, str(line), on=line, before=row.deprecation is not None, said=said)
        return LineState(ref=str(line), deprecation=deprecation_of(said))

    return with_retry(registry.engine, transaction)


def _say(conn: sa.Connection, caller: Caller, request: Deprecate, *, of: str) -> dict[str, str] | None:
    if not request.reason:
        if request.successor:
            raise InvalidInput("a successor without a reason", fix="say why: -m REASON")
        return None
    successor = _successor(conn, caller, request.successor, of=of) if request.successor else ""
    at = rfc3339(read_clock(conn))
    return {"actor": caller.principal, "at": at, "reason": request.reason, "successor": successor}


def _successor(conn: sa.Connection, caller: Caller, text: str, *, of: str) -> str:
    """Return the name of a successor that the caller sees and that may be one."""
    ref = caller.current_ref(Ref.parse(text))
    caller.require(Right.READ, on=ref.line)
    if ref.is_bare:
        deprecated, name = find_line(conn, caller, ref.line).deprecation, str(ref.line)
    else:
        row = find_version(conn, caller, ref, bare="newest")
        if row.deleted_at is not None:
            raise Blocked(f"{ref_of(row)} is deleted", fix="name another successor")
        deprecated, name = row.deprecation or row.line_deprecation, ref_of(row)
        name = str(ref) if ref.channel is not None else name
    if of in {name, str(ref.line)}:
        raise InvalidInput(f"{of} would be its own successor", fix="name what to use instead")
    if deprecated is not None:
        instead = deprecated.get("successor", "")
        raise Conflict(f"{name} is deprecated itself", fix=f"name {instead or 'another successor'}")
    return name


def _record(
    conn: sa.Connection, caller: Caller, subject: str, *, on: Resource, before: bool, said: dict[str, str] | None
) -> None:
    action = Action.LINE_DEPRECATE if isinstance(on, LineRef) and subject == str(on) else Action.VERSION_DEPRECATE
    after: dict[str, object] = {"deprecated": said is not None}
    if said is not None:
        after |= {"reason": said["reason"], "successor": said["successor"]}
    caller.record(conn, action, subject, on=on, before={"deprecated": before}, after=after)
