"""Namespaces: create, show, list, and change their visibility."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.access import namespaces as queries
from deltareg.db.access.rows import NamespaceRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.errors import Forbidden
from deltareg.refs import parse_name
from deltareg.service.access.founding import check_free
from deltareg.service.access.members import check_seen
from deltareg.service.access.namespace_requests import ask_for_namespace, make_namespace
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED, SOMEWHERE, Namespace
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.wire import NamespaceChange, NamespaceCreate, NamespaceInfo, Page


def list_namespaces(registry: Registry, caller: Caller, *, cursor: str | None, limit: int) -> Page[NamespaceInfo]:
    """List namespaces by name, leaving out those that the caller may not see."""
    caller.require(Right.READ, on=SHARED)
    after = read_cursor(cursor)
    with read(registry.engine) as conn:
        rows = queries.namespace_rows(conn, sight=caller.sight, after=after, limit=check_limit(limit) + 1)
        infos = {info.name: info for info in _describe(conn, rows)}
    return page(rows, limit, show=lambda row: infos[row.name], key=lambda row: row.name)


def show_namespace(registry: Registry, caller: Caller, name: str) -> NamespaceInfo:
    """Show a namespace.

    Raises:
        NotFound: The caller sees no namespace of that name.
    """
    with read(registry.engine) as conn:
        check_seen(conn, caller, name)
        return _describe(conn, [present(queries.namespace_row(conn, name))])[0]


def create_namespace(registry: Registry, caller: Caller, request: NamespaceCreate) -> NamespaceInfo:
    """Create an empty namespace that the caller owns, so that it can be private from the start.

    Where admins alone make namespaces, others ask for it by this, and the first admin decides.

    Raises:
        ApprovalDue: The caller may not make it; a request for it is open.
        Forbidden: The token does not allow pushing, or not into a namespace of this name.
        InvalidInput: The name is reserved.
        Conflict: A namespace of that name exists.
    """
    caller.require(Right.PUSH, on=SOMEWHERE)
    name = parse_name(request.name, "namespace")
    if not caller.is_founder:
        raise ask_for_namespace(registry, caller, request)
    if not caller.may_found(name) and not caller.may(Right.PUSH, on=EVERYTHING):
        raise Forbidden(f"this token is not for {name}", fix="use one that is not limited")
    check_free(name)

    def transaction(conn: sa.Connection) -> NamespaceInfo:
        make_namespace(conn, caller, name, request.visibility)
        return _describe(conn, [present(queries.namespace_row(conn, name))])[0]

    return with_retry(registry.engine, transaction)


def change_namespace(registry: Registry, caller: Caller, name: str, request: NamespaceChange) -> NamespaceInfo:
    """Change the visibility of a namespace; only its owners may.

    Raises:
        Forbidden: The caller owns no namespace of that name.
        NotFound: There is none.
    """
    return with_retry(registry.engine, lambda conn: change_namespace_in(conn, caller, name, request))


def change_namespace_in(conn: sa.Connection, caller: Caller, name: str, request: NamespaceChange) -> NamespaceInfo:
    """Do what `change_namespace` does, in a transaction."""
    place = Namespace(parse_name(name, "namespace"))
    caller.require(Right.ADMIN, on=place)
    namespace_id = check_seen(conn, caller, name)
    row = present(queries.namespace_row(conn, name))
    if row.visibility != request.visibility:
        queries.set_visibility(conn, namespace_id, request.visibility)
        before, after = {"visibility": row.visibility}, {"visibility": request.visibility}
        subject = f"namespace/{name}"
        caller.record(conn, Action.NAMESPACE_VISIBILITY, subject, on=place, before=before, after=after)
    return _describe(conn, [present(queries.namespace_row(conn, name))])[0]


def _describe(conn: sa.Connection, rows: Sequence[NamespaceRow]) -> list[NamespaceInfo]:
    owners = grant_queries.owners_of(conn, [row.id for row in rows])
    return [
        NamespaceInfo(
            name=row.name,
            visibility=row.visibility,
            owners=owners.get(row.id, []),
            deltas=row.lines,
            created_at=rfc3339(row.created_at),
            created_by=row.created_by or "registry",
        )
        for row in rows
    ]
