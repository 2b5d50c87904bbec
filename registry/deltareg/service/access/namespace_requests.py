"""Asking for a namespace where admins alone make them, and deciding about it."""

from collections.abc import Callable
from functools import partial

import sqlalchemy as sa

from deltareg.db.access import namespace_requests as queries
from deltareg.db.access import namespaces as namespace_queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.access.rows import NamespaceRequestRow
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.errors import ApprovalDue, Conflict, NotFound
from deltareg.refs import parse_name
from deltareg.service.access.founding import check_free, check_unnamed, give_owner
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED, Namespace
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry, needs_token
from deltareg.wire import NamespaceCreate, NamespaceRequestInfo, Page, Visibility
from deltareg.words import NamespaceRequestState

_MOST = 20
_LIST = "deltareg namespace requests"


def ask_for_namespace(registry: Registry, caller: Caller, request: NamespaceCreate) -> ApprovalDue:
    """Open a request for a namespace, or find the one that is open; return what tells of it.

    It does not say whether somebody has the name: that is for whoever decides.

    Raises:
        InvalidInput: The name is reserved, or is no name.
        Conflict: Too many requests of the caller are open.
    """
    name = parse_name(request.name, "namespace")
    check_free(name)

    def transaction(conn: sa.Connection) -> int:
        principal_queries.lock_principal(conn, caller.principal)
        waiting = queries.open_requests_by(conn, caller.principal_id)
        same = next((row for row in waiting if row.name == name), None)
        if same is not None:
            return same.id
        if len(waiting) >= _MOST:
            raise Conflict(f"{len(waiting)} requests of {caller.principal} wait already", fix=_LIST)
        asked = {"visibility": request.visibility, "reason": request.reason}
        request_id = queries.add_request(
            conn, name, visibility=request.visibility, reason=request.reason, opener_id=caller.principal_id
        )
        after = {"name": name, **asked}
        caller.record(conn, Action.NAMESPACE_ASK, f"ask/{request_id}", on=EVERYTHING, before=None, after=after)
        return request_id

    request_id = with_retry(registry.engine, transaction)
    return ApprovalDue(
        f"admins make the namespaces of this server: request {request_id} asks them for {name}",
        fix=f"ask an admin: deltareg namespace grant {request_id}",
        request=request_id,
    )


def list_namespace_requests(
    registry: Registry, caller: Caller, *, state: NamespaceRequestState | None, cursor: str | None, limit: int
) -> Page[NamespaceRequestInfo]:
    """List requests for namespaces, newest first: all for admins, their own for others."""
    if caller.is_anonymous:
        raise needs_token()
    caller.require(Right.READ, on=SHARED)
    before = read_number_cursor(cursor)
    opener = None if caller.may(Right.ADMIN, on=EVERYTHING) else caller.principal_id
    with read(registry.engine) as conn:
        rows = queries.request_rows(conn, state=state, opener_id=opener, before=before, limit=check_limit(limit) + 1)
    return page(rows, limit, show=_show, key=lambda row: row.id)


def grant_namespace(registry: Registry, caller: Caller, request_id: int, *, reason: str) -> NamespaceRequestInfo:
    """Make the namespace that somebody asked for, and give it to them.

    Raises:
        NotFound: There is no such request.
        Conflict: It is decided, the name is taken meanwhile, or who asked is disabled.
    """

    def grant(conn: sa.Connection, row: NamespaceRequestRow) -> None:
        opener = present(principal_queries.principal_row(conn, row.opener))
        if opener.disabled_at is not None:
            raise Conflict(f"{row.opener} is disabled", fix=f"deltareg namespace refuse {row.id}")
        make_namespace(conn, caller, row.name, row.visibility, for_id=opener.id)

    return _decide(registry, caller, request_id, "granted", reason, grant)


def refuse_namespace(registry: Registry, caller: Caller, request_id: int, *, reason: str) -> NamespaceRequestInfo:
    """Refuse a request for a namespace, with a reason.

    Raises:
        NotFound: There is no such request.
        Conflict: It is decided.
    """
    return _decide(registry, caller, request_id, "refused", reason, lambda _conn, _row: None)


def make_namespace(
    conn: sa.Connection, caller: Caller, name: str, visibility: Visibility, *, for_id: int | None = None
) -> None:
    """Make an empty namespace, for the caller or for somebody else.

    Raises:
        Conflict: A namespace has the name, or had it.
    """
    check_unnamed(conn, name)
    added = delta_queries.add_namespace(conn, name, created_by=caller.principal_id)
    if not added.is_new:
        raise Conflict(f"the name {name} is taken", fix="choose another one")
    give_owner(conn, caller, added.id, principal_id=for_id)
    if visibility != "internal":
        namespace_queries.set_visibility(conn, added.id, visibility)
    caller.record(
        conn,
        Action.NAMESPACE_CREATE,
        f"namespace/{name}",
        on=Namespace(name),
        before=None,
        after={"visibility": visibility},
    )


def _decide(
    registry: Registry,
    caller: Caller,
    request_id: int,
    state: NamespaceRequestState,
    reason: str,
    act: Callable[[sa.Connection, NamespaceRequestRow], None],
) -> NamespaceRequestInfo:
    caller.require(Right.ADMIN, on=EVERYTHING)
    action = Action.NAMESPACE_GRANT if state == "granted" else Action.NAMESPACE_REFUSE

    def transaction(conn: sa.Connection) -> NamespaceRequestInfo:
        row = queries.request_row(conn, request_id, lock=True)
        if row is None:
            raise NotFound(f"there is no request {request_id} for a namespace", fix=_LIST)
        if row.state == state and row.decider == caller.principal:
            return _show(row)
        if row.state != "open":
            raise Conflict(f"request {request_id} was {row.state} by {row.decider}", fix=_LIST)
        act(conn, row)
        queries.decide(conn, request_id, state=state, decided_by=caller.principal_id, decision=reason)
        record = partial(caller.record, conn, action, f"ask/{request_id}", on=EVERYTHING)
        record(before={"state": "open"}, after={"state": state, "name": row.name, "reason": reason})
        return _show(present(queries.request_row(conn, request_id)))

    return with_retry(registry.engine, transaction)


def _show(row: NamespaceRequestRow) -> NamespaceRequestInfo:
    return NamespaceRequestInfo(
        id=row.id,
        name=row.name,
        visibility=row.visibility,
        opener=row.opener,
        reason=row.reason,
        opened_at=rfc3339(row.created_at),
        state=row.state,
        decided_by=row.decider,
        decided_at=rfc3339_or_none(row.decided_at),
        decision=row.decision,
    )
