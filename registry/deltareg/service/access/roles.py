"""Roles of one's own: an admin defines them for all, an owner for a namespace; whoever may give them, gives them."""

from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.access import roles as queries
from deltareg.db.access.group_rows import OwnRoleRow
from deltareg.db.access.rows import GrantRow
from deltareg.db.session import read, with_retry
from deltareg.errors import Conflict, InvalidInput, NotFound
from deltareg.refs import parse_name
from deltareg.service.access.giving import cannot_give
from deltareg.service.access.places import check_seen, find_namespace_id, parse_place
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SHARED, Resource
from deltareg.service.authority.roles import (
    BUILT_IN,
    OF_CHANNELS,
    OF_LINES,
    ONLY_EVERYWHERE,
    RIGHTS,
    Role,
    is_of_channels,
    join_rights,
    read_rights,
)
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.wire import Page, RoleInfo, RoleSet


@dataclass(frozen=True, slots=True)
class GivenRole:
    """A role as it is given: a built-in one, or one of one's own with its row.

    Attributes:
        name: Its name.
        rights: What it gives.
        row_id: The id of its row; None for a built-in one.
    """

    name: str
    rights: frozenset[Right]
    row_id: int | None = None

    def fits(self, pattern: str) -> bool:
        """Whether it may be given on the lines, or the channels, of a pattern."""
        is_of_some_channels = "@" in pattern
        if self.row_id is not None:
            return not is_of_some_channels or is_of_channels(self.rights)
        return self.name in (OF_CHANNELS if is_of_some_channels else OF_LINES)


def set_role(registry: Registry, caller: Caller, request: RoleSet) -> RoleInfo:
    """Define a role, or change what it gives: at once, for all who hold it.

    Raises:
        Forbidden: The caller is no admin, or does not own the namespace; or it lacks one of the rights.
        NotFound: There is no such namespace.
        InvalidInput: The name is a built-in role's, or a right is none of such a role.
        Conflict: A role of that name is for all, or a namespace's; or some hold it on channels, and the new
            rights are not about channels.
    """
    return with_retry(registry.engine, lambda conn: set_role_in(conn, caller, request))


def set_role_in(conn: sa.Connection, caller: Caller, request: RoleSet) -> RoleInfo:
    """Do what `set_role` does, in a transaction."""
    name, place = parse_name(request.name, "role"), parse_place(request.namespace)
    caller.require(Right.ADMIN, on=place)
    namespace_id = find_namespace_id(conn, request.namespace)
    if name in BUILT_IN:
        raise InvalidInput(f"{name} is built in", fix="give the role another name")
    rights = join_rights(request.rights)
    for right in sorted(read_rights(rights)):
        if not caller.may(right, on=place):
            raise cannot_give(caller, right, request.namespace)
    row = queries.find_role(conn, name, namespace_id, lock=True)
    if row is None or row.namespace != request.namespace:
        _check_name(conn, name, request.namespace)
        if not queries.add_role(conn, name, namespace_id=namespace_id, rights=rights, created_by=caller.principal_id):
            raise Conflict(f"somebody made the role {name} at the same moment", fix="look at it, and try again")
        _record(conn, caller, Action.ROLE_SET, name, on=place, before=None, after=rights)
    elif row.rights != rights:
        _check_narrowed(conn, row, rights)
        queries.set_rights(conn, row.id, rights)
        _record(conn, caller, Action.ROLE_SET, name, on=place, before=row.rights, after=rights)
    return RoleInfo(name=name, namespace=request.namespace, rights=rights.split("+"), is_built_in=False)


def remove_role(registry: Registry, caller: Caller, name: str, namespace: str | None) -> RoleInfo:
    """Remove a role; whoever holds it loses what it gives, at once.

    Raises:
        Forbidden: The caller is no admin, or does not own the namespace.
        NotFound: There is no such role there.
        InvalidInput: It is built in.
    """
    return with_retry(registry.engine, lambda conn: remove_role_in(conn, caller, name, namespace))


def remove_role_in(conn: sa.Connection, caller: Caller, name: str, namespace: str | None) -> RoleInfo:
    """Do what `remove_role` does, in a transaction."""
    place = parse_place(namespace)
    caller.require(Right.ADMIN, on=place)
    if name in BUILT_IN:
        raise InvalidInput(f"{name} is built in, and stays", fix="take it from those who hold it: deltareg member rm")
    row = queries.find_role(conn, name, find_namespace_id(conn, namespace), lock=True)
    if row is None or row.namespace != namespace:
        raise _no_role(name, namespace)
    for grant in grant_queries.grant_rows(conn, role_id=row.id):
        end_grant(conn, caller, grant)
    queries.end_role(conn, row.id)
    _record(conn, caller, Action.ROLE_REMOVE, name, on=place, before=row.rights, after=None)
    return _describe(row)


def list_roles(registry: Registry, caller: Caller, namespace: str | None) -> Page[RoleInfo]:
    """List the roles that may be given: built-in ones, those for all, and those of a namespace.

    Raises:
        NotFound: The caller sees no such namespace.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        namespace_id = None if namespace is None else check_seen(conn, caller, namespace)
        own = [_describe(row) for row in queries.role_rows(conn, namespace_id)]
    outside = {Role.OWNER, Role.MAINTAINER} if namespace is None else ONLY_EVERYWHERE
    names = [role for role in Role if role not in outside]
    built_in = [RoleInfo(name=role, namespace=None, rights=sorted(RIGHTS[role]), is_built_in=True) for role in names]
    return Page(items=[*built_in, *own])


def role_to_give(conn: sa.Connection, name: str, namespace: str | None, namespace_id: int | None) -> GivenRole:
    """Find a role by its name, to give it in a namespace, or everywhere.

    Raises:
        InvalidInput: There is no such role there, or it is none for that place.
    """
    if name in BUILT_IN:
        _check_place(Role(name), namespace)
        return GivenRole(name, RIGHTS[name])
    row = queries.find_role(conn, name, namespace_id, lock=True)
    if row is None:
        where = f" in {namespace}" if namespace else ""
        raise InvalidInput(f"there is no role {name[:64]!r}{where}", fix=f"deltareg role ls {namespace or ''}".rstrip())
    role = GivenRole(name, read_rights(row.rights), row.id)
    if namespace is None and Right.MAINTAIN in role.rights:
        raise InvalidInput("who gives roles to others does so in a namespace", fix="name one, or: admin")
    return role


def rights_of(row: GrantRow) -> frozenset[Right]:
    """Return what a grant gives now."""
    return RIGHTS.get(row.role, frozenset()) if row.own_rights is None else read_rights(row.own_rights)


def end_grant(conn: sa.Connection, caller: Caller, row: GrantRow) -> None:
    """End a grant, and record who did."""
    grant_queries.end_grant(conn, row.id, ended_by=caller.principal_id)
    before = {"role": row.role, "pattern": row.pattern}
    subject = f"member/{row.namespace or '*'}/{row.principal}"
    caller.record(conn, Action.MEMBER_END, subject, on=parse_place(row.namespace), before=before, after=None)


def _check_place(role: Role, namespace: str | None) -> None:
    if namespace is not None and role in ONLY_EVERYWHERE:
        instead = "owner" if role is Role.ADMIN else "pusher, who may ask for verifications"
        raise InvalidInput(f"{role} is a role for everywhere", fix=f"in a namespace: {instead}")
    if namespace is None and role in {Role.OWNER, Role.MAINTAINER}:
        raise InvalidInput(f"nobody is {role} of everything", fix="name a namespace, or: admin")


def _check_name(conn: sa.Connection, name: str, namespace: str | None) -> None:
    """Let a name mean one role wherever somebody may give it."""
    for row in queries.roles_named(conn, name):
        if row.namespace is None:
            raise Conflict(f"{name} is a role for all namespaces", fix="choose another name")
        if namespace is None:
            raise Conflict(f"{name} is a role of {row.namespace}", fix="choose another name")


def _check_narrowed(conn: sa.Connection, row: OwnRoleRow, rights: str) -> None:
    if is_of_channels(read_rights(rights)):
        return
    for grant in grant_queries.grant_rows(conn, role_id=row.id):
        if "@" in grant.pattern:
            raise Conflict(
                f"{grant.principal} is {row.name} on some channels, {grant.pattern}, and pushing or giving roles"
                " is about whole lines",
                fix=f"deltareg member rm {grant.namespace} {grant.principal} --role {row.name}",
            )


def _no_role(name: str, namespace: str | None) -> NotFound:
    where = f"of {namespace}" if namespace else "for all"
    return NotFound(f"there is no role {name[:64]!r} {where}", fix=f"deltareg role ls {namespace or ''}".rstrip())


def _record(
    conn: sa.Connection,
    caller: Caller,
    action: Action,
    name: str,
    *,
    on: Resource,
    before: str | None,
    after: str | None,
) -> None:
    subject = f"role/{'*' if on is parse_place(None) else on}/{name}"
    states = [None if rights is None else {"rights": rights.split("+")} for rights in (before, after)]
    caller.record(conn, action, subject, on=on, before=states[0], after=states[1])


def _describe(row: OwnRoleRow) -> RoleInfo:
    return RoleInfo(name=row.name, namespace=row.namespace, rights=row.rights.split("+"), is_built_in=False)
