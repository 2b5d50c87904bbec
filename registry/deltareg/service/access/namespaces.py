"""Namespaces: made, shown, listed, and made as visible as their owner wants."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.access import namespaces as queries
from deltareg.db.access.rows import NamespaceRow
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.errors import Conflict, Forbidden
from deltareg.refs import parse_name
from deltareg.service.access.founding import check_free, give_owner
from deltareg.service.access.members import check_seen
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED, SOMEWHERE, Namespace
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.wire import NamespaceChange, NamespaceCreate, NamespaceInfo, Page


def list_namespaces(registry: Registry, caller: Caller, *, cursor: str | None, limit: int) -> Page[NamespaceInfo]:
    """List namespaces by name; those that the caller may not see are left out."""
    caller.require(Right.READ, on=SHARED)
    after = read_cursor(cursor)
    with read(registry.engine) as conn:
        rows = queries.namespace_rows(conn, sight=caller.sight, after=after, limit=check_limit(limit) + 1)
        shown = {info.name: info for info in _describe(conn, rows)}
    return page(rows, limit, show=lambda row: shown[row.name], key=lambda row: row.name)


def show_namespace(registry: Registry, caller: Caller, name: str) -> NamespaceInfo:
    """Show a namespace.

    Raises:
        NotFound: There is none of that name that the caller may see.
    """
    with read(registry.engine) as conn:
        check_seen(conn, caller, name)
        return _describe(conn, [present(queries.namespace_row(conn, name))])[0]


def create_namespace(registry: Registry, caller: Caller, request: NamespaceCreate) -> NamespaceInfo:
    """Make a namespace with nothing in it, which the caller owns; so it can be private at once.

    Raises:
        Forbidden: The token is not one for pushing, or not for a namespace of this name.
        InvalidInput: The name is kept for what belongs to all.
        Conflict: There is one of that name.
    """
    caller.require(Right.PUSH, on=SOMEWHERE)
    name = parse_name(request.name, "namespace")
    place = Namespace(name)
    if not caller.may_found(name) and not caller.may(Right.PUSH, on=EVERYTHING):
        raise Forbidden(f"this token is not for {name}", fix="use one that is not limited")
    check_free(name)

    def transaction(conn: sa.Connection) -> NamespaceInfo:
        made = delta_queries.add_namespace(conn, name, created_by=caller.principal_id)
        if not made.is_new:
            raise Conflict(f"the name {name} is taken", fix="choose another one")
        give_owner(conn, caller, made.id)
        if request.visibility != "internal":
            queries.set_visibility(conn, made.id, request.visibility)
        after = {"visibility": request.visibility}
        subject = f"namespace/{name}"
        caller.record(conn, Action.NAMESPACE_CREATE, subject, on=place, before=None, after=after)
        return _describe(conn, [present(queries.namespace_row(conn, name))])[0]

    return with_retry(registry.engine, transaction)


def change_namespace(registry: Registry, caller: Caller, name: str, request: NamespaceChange) -> NamespaceInfo:
    """Make a namespace as visible as it is to be: for its owners.

    Raises:
        Forbidden: The caller owns no namespace of that name.
        NotFound: There is none.
    """
    place = Namespace(parse_name(name, "namespace"))
    caller.require(Right.ADMIN, on=place)

    def transaction(conn: sa.Connection) -> NamespaceInfo:
        namespace_id = check_seen(conn, caller, name)
        row = present(queries.namespace_row(conn, name))
        if row.visibility != request.visibility:
            queries.set_visibility(conn, namespace_id, request.visibility)
            before, after = {"visibility": row.visibility}, {"visibility": request.visibility}
            subject = f"namespace/{name}"
            caller.record(conn, Action.NAMESPACE_VISIBILITY, subject, on=place, before=before, after=after)
        return _describe(conn, [present(queries.namespace_row(conn, name))])[0]

    return with_retry(registry.engine, transaction)


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
