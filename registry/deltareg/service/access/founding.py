"""Namespaces created by pushing into them: whoever creates one owns it."""

import sqlalchemy as sa

from deltareg.db.access import grants as queries
from deltareg.db.access.owners import owner_of
from deltareg.db.lines import aliases as alias_queries
from deltareg.db.lines import deltas as delta_queries
from deltareg.errors import Conflict, Forbidden, InvalidInput
from deltareg.refs import LineRef
from deltareg.service.authority.grants import RESERVED, Right
from deltareg.service.authority.resources import Resource
from deltareg.service.authority.roles import Role
from deltareg.service.registry import Caller


def require_push(conn: sa.Connection, caller: Caller, *, on: Resource) -> None:
    """Check that the caller may push there; pass if nobody has created the namespace yet.

    Raises:
        Forbidden: The caller has no right to push there.
    """
    on = caller.current_line(on) if isinstance(on, LineRef) else on
    if isinstance(on, LineRef) and not caller.may(Right.PUSH, on=on):
        is_free = caller.may_found(on.namespace)
        if is_free and delta_queries.namespace_id(conn, on.namespace) is None:
            check_unnamed(conn, on.namespace)
            return
    caller.require(Right.PUSH, on=on)
    if isinstance(on, LineRef) and delta_queries.namespace_id(conn, on.namespace) is None:
        check_free(on.namespace)


def found_namespace(conn: sa.Connection, caller: Caller, line: LineRef) -> int:
    """Return the namespace id of a line that is pushed; a new namespace belongs to the caller.

    Raises:
        Forbidden: Somebody else created it, and the caller may not push into it.
        InvalidInput: The name is reserved.
    """
    namespace_id = delta_queries.namespace_id(conn, line.namespace)
    if namespace_id is None:
        check_free(line.namespace)
        check_unnamed(conn, line.namespace)
        check_founder(caller, line.namespace)
        added = delta_queries.add_namespace(conn, line.namespace, created_by=caller.principal_id)
        namespace_id = added.id
        if added.is_new:
            give_owner(conn, caller, namespace_id)
            return namespace_id
    caller.require(Right.PUSH, on=line)
    return namespace_id


def check_founder(caller: Caller, name: str) -> None:
    """Refuse to found a namespace for somebody who may not, on a server where admins alone do.

    Raises:
        Forbidden: The caller is no admin.
    """
    if not caller.is_founder:
        raise Forbidden(
            "admins make the namespaces of this server", fix=f"ask for it: deltareg namespace create {name}"
        )


def check_free(name: str) -> None:
    """Refuse a namespace whose name is reserved for what belongs to everybody.

    Raises:
        InvalidInput: The name is reserved.
    """
    if name in RESERVED:
        raise InvalidInput(f"the name {name} is kept for what belongs to all", fix="choose another namespace")


def check_unnamed(conn: sa.Connection, name: str) -> None:
    """Refuse to found a namespace under the former name of another one.

    Raises:
        Conflict: The name leads on to a namespace.
    """
    if alias_queries.alias_of_namespace(conn, name) is not None:
        raise Conflict(f"the name {name} is taken", fix="choose another one")


def give_owner(conn: sa.Connection, caller: Caller, namespace_id: int, *, principal_id: int | None = None) -> None:
    """Make whoever created a namespace its owner; a script pushes into it, and its owner owns it.

    Args:
        conn: A transaction.
        caller: Who creates it.
        namespace_id: The namespace.
        principal_id: Whom it is created for; None for the caller.
    """
    maker = caller.principal_id if principal_id is None else principal_id
    owner = owner_of(conn, maker) or maker
    roles = {owner: Role.OWNER}
    if owner != maker:
        roles[maker] = Role.PUSHER
    for principal, role in roles.items():
        queries.add_grant(conn, principal, role=role, namespace_id=namespace_id, created_by=caller.principal_id)
