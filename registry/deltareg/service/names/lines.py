"""Renaming a line, also into another namespace, and letting a former name go.

The former name leads to the line until somebody lets it go: references, pushes, agents, locks and
links that use it go on. What was signed and what the audit trail says keeps the name of its time.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.lines import aliases as queries
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import named_elsewhere
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.rows import LineRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import with_retry
from deltareg.db.storage.uploads import lock_open
from deltareg.errors import Conflict
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.authority.refusals import absent
from deltareg.service.authority.resources import Namespace
from deltareg.service.events import Action
from deltareg.service.lines.cards import relabel
from deltareg.service.names.moving import copy_shared, discard_copies, lock_counts, move_packs
from deltareg.service.quotas.holding import within_quotas
from deltareg.service.quotas.room import explain_room
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.service.resolve import find_line
from deltareg.wire import NameChange, Rename

_TRIES = 3


def rename_line(registry: Registry, caller: Caller, line: LineRef, request: Rename) -> NameChange:
    """Give a line another name, in its namespace or in another one; the former name leads on.

    Raises:
        Forbidden: The caller does not own both namespaces.
        NotFound: The caller sees no such line, or no such namespace.
        Conflict: Another line has that name, or it leads on to one.
        OverQuota: The other namespace has no room for it.
    """
    to = LineRef.parse(request.to)
    caller.require(Right.ADMIN, on=line)
    caller.require(Right.ADMIN, on=to)
    for _ in range(_TRIES):
        with explain_room(registry.engine):
            copies = copy_shared(registry, caller, line, to)
            if copies is None:
                continue
            try:
                rename = partial(_rename, caller=caller, line=line, to=to, copies=copies)
                done = with_retry(registry.engine, rename)
            finally:
                discard_copies(registry, copies)  # where they became packs, nothing is left to discard
        if done is not None:
            return done
    raise Conflict(f"{line} was changed while its bytes were copied", fix="run the same command again")


def free_name(registry: Registry, caller: Caller, line: LineRef) -> NameChange:
    """Let a former name of a line lead nowhere any more, so that it can be taken again.

    Raises:
        Forbidden: The caller does not own the namespace of the name.
        NotFound: It is no former name.
    """
    line = caller.aliases.within(line)
    caller.require(Right.ADMIN, on=line)

    def transaction(conn: sa.Connection) -> NameChange:
        queries.take_turn(conn)
        namespace = delta_queries.namespace_id(conn, line.namespace)
        if namespace is None or not queries.drop_line_alias(conn, namespace, line.name):
            raise absent(line)
        before, after = {"leads": True}, {"leads": False}
        caller.record(conn, Action.LINE_FREE, str(line), on=line, before=before, after=after)
        return NameChange(name="", before=str(line))

    return with_retry(registry.engine, transaction)


def _rename(conn: sa.Connection, caller: Caller, line: LineRef, to: LineRef, copies: str) -> NameChange | None:
    """Rename a line; return None where its bytes have to be copied first."""
    # A push locks its upload before the line, so this does too.
    sent = named_elsewhere.lock_uploads(conn, str(line)) if line.namespace != to.namespace else {}
    copied = lock_open(conn, copies) if copies else None
    queries.take_turn(conn)
    row = find_line(conn, caller, line, lock=True)
    if line == to:
        return NameChange(name=str(to))
    namespace = delta_queries.namespace_id(conn, to.namespace)
    if namespace is None:
        raise absent(Namespace(to.namespace))
    _check_free(conn, caller, row, to)
    versions = version_queries.all_of_line(conn, row.id)
    is_moved = namespace != row.namespace_id
    if is_moved:
        lock_counts(conn, row.id, line, to, by={caller.principal_id, *sent.values()})
    with within_quotas(conn, namespace_scope(to.namespace), None, is_strict=True) if is_moved else nullcontext():
        if is_moved and not move_packs(conn, row.id, line, to, copied):
            return None
        queries.drop_line_alias(conn, namespace, to.name)
        if not queries.name_line(conn, row.id, namespace_id=namespace, name=to.name, by=caller.principal_id):
            raise _refuse_taken(to)
        _take_along(conn, caller, row, line, to, namespace)
        named_elsewhere.abort_uploads(conn, sent)
    reindex(conn, versions)
    before, after = {"name": str(line)}, {"name": str(to)}
    caller.record(conn, Action.LINE_RENAME, str(to), on=to, before=before, after=after)
    return NameChange(name=str(to), before=str(line))


def reindex(conn: sa.Connection, versions: Sequence[VersionRow]) -> None:
    """Let versions be found by the names that they have now."""
    now = version_queries.versions_by_ids(conn, [row.id for row in versions])
    for row in versions:
        relabel(conn, now[row.id], before=row)


def _check_free(conn: sa.Connection, caller: Caller, row: LineRow, to: LineRef) -> None:
    if delta_queries.delta_row(conn, to.namespace, to.name) is not None:
        raise _refuse_taken(to)
    alias = queries.alias_of_line(conn, to.namespace, to.name)
    if alias is None:
        return
    leads = LineRef(alias.to_namespace, alias.to_name)
    target = delta_queries.delta_row(conn, leads.namespace, leads.name)
    if target is not None and target.id == row.id:  # it gets a name back that it had
        return
    where = f"leads on to {leads}" if caller.sees(leads) else "leads on to a line"
    raise Conflict(f"{to} is a former name, and {where}", fix=f"to let it go first: deltareg rm {to}")


def _refuse_taken(to: LineRef) -> Conflict:
    return Conflict(f"{to} is a line already", fix="choose another name")


def _take_along(conn: sa.Connection, caller: Caller, row: LineRow, line: LineRef, to: LineRef, namespace: int) -> None:
    """Let all that names the line name it as it is called now."""
    by = caller.principal_id
    named_elsewhere.rename_bases(conn, row.id, before=str(line), after=str(to), by=by)
    named_elsewhere.rename_for_hub(conn, str(line), str(to))
    named_elsewhere.rename_events(conn, (line.namespace, line.name), (to.namespace, to.name))
    if namespace != row.namespace_id:
        named_elsewhere.move_runs(conn, row.id, namespace)
        return
    named_elsewhere.rename_webhooks(conn, namespace, line.name, to.name)
    for grant in grant_queries.grant_rows(conn, namespace_id=namespace):
        name, at, channels = grant.pattern.partition("@")
        if name != line.name:
            continue
        pattern = f"{to.name}{at}{channels}"
        grant_queries.end_grant(conn, grant.id, ended_by=by)
        grant_queries.add_grant(
            conn,
            grant.principal_id,
            role=grant.role,
            namespace_id=namespace,
            pattern=pattern,
            created_by=by,
            role_id=grant.role_id,
        )
        subject, on = f"member/{line.namespace}/{grant.principal}", Namespace(line.namespace)
        before, after = {"role": grant.role, "pattern": grant.pattern}, {"role": grant.role, "pattern": pattern}
        caller.record(conn, Action.MEMBER_ADD, subject, on=on, before=before, after=after)
