"""Namespaces that are made by pushing into them: who makes one owns it."""

import sqlalchemy as sa

from deltareg.db.access import grants as queries
from deltareg.db.lines import deltas as delta_queries
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef
from deltareg.service.authority.grants import RESERVED, Right
from deltareg.service.authority.resources import Resource
from deltareg.service.authority.roles import Role
from deltareg.service.registry import Caller


def require_push(conn: sa.Connection, caller: Caller, *, on: Resource) -> None:
    """Go on only if the caller may push there, or if nobody has made the namespace yet.

    Raises:
        Forbidden: It has no right to.
    """
    if isinstance(on, LineRef) and not caller.may(Right.PUSH, on=on):
        is_free = caller.may_found(on.namespace)
        if is_free and delta_queries.namespace_id(conn, on.namespace) is None:
            return
    caller.require(Right.PUSH, on=on)
    if isinstance(on, LineRef) and delta_queries.namespace_id(conn, on.namespace) is None:
        check_free(on.namespace)


def found_namespace(conn: sa.Connection, caller: Caller, line: LineRef) -> int:
    """Give the id of the namespace of a line that is pushed; it is the caller's if it is new.

    Raises:
        Forbidden: It is there, and the caller may not push into it: somebody else made it.
        InvalidInput: Nobody makes one of that name.
    """
    found = delta_queries.namespace_id(conn, line.namespace)
    if found is None:
        check_free(line.namespace)
        made = delta_queries.add_namespace(conn, line.namespace, created_by=caller.principal_id)
        found = made.id
        if made.is_new:
            give_owner(conn, caller, found)
            return found
    caller.require(Right.PUSH, on=line)
    return found


def check_free(name: str) -> None:
    """Refuse a namespace that would be called as what belongs to all, whoever makes it.

    Raises:
        InvalidInput: It would.
    """
    if name in RESERVED:
        raise InvalidInput(f"the name {name} is kept for what belongs to all", fix="choose another namespace")


def give_owner(conn: sa.Connection, caller: Caller, namespace_id: int) -> None:
    """Let who made a namespace own it; a script pushes into it, and its person owns it."""
    person = queries.people_of(conn, [caller.principal_id])[caller.principal_id]
    roles = {person: Role.OWNER}
    if person != caller.principal_id:
        roles[caller.principal_id] = Role.PUSHER
    for principal, role in roles.items():
        queries.add_grant(conn, principal, role=role, namespace_id=namespace_id, created_by=caller.principal_id)
