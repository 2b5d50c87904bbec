"""The changes that applying a document makes, each by the use case of its command, in one transaction."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.access import owners as owner_queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.access import roles as role_queries
from deltareg.db.access.rows import GrantRow
from deltareg.db.lines import deltas as delta_queries
from deltareg.documents.limits import write_limits as write_limits
from deltareg.errors import Conflict, InvalidInput
from deltareg.refs import parse_name
from deltareg.service.access.founding import check_free, check_unnamed, give_owner
from deltareg.service.access.groups import join_group_in, leave_group_in, remove_group_in, set_group_in
from deltareg.service.access.limits import ALL_NAMESPACES, ALL_PEOPLE, limits_of, limits_of_principals, set_limits_in
from deltareg.service.access.limits import Limits as Limits
from deltareg.service.access.members import add_member_in, end_member_in
from deltareg.service.access.namespaces import change_namespace_in
from deltareg.service.access.organisation import groups_seen
from deltareg.service.access.people import find_or_add_person, find_owner, hand_over_in
from deltareg.service.access.principals import check_kind
from deltareg.service.access.roles import remove_role_in, set_role_in
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.events import Action
from deltareg.service.registry import Caller
from deltareg.wire import AccessDocument, DeclaredGroup, GroupSet, MemberAdd, NamespaceChange, RoleSet, Visibility

_SERVICE = "service"


def check_document(document: AccessDocument) -> None:
    """Refuse a document that contradicts itself, or writes a role as none is written.

    Raises:
        InvalidInput: It does; the message says where.
    """
    for name, group in (document.groups or {}).items():
        if group.source and group.members:
            raise InvalidInput(f"group {name}: {group.source} says who is in it", fix="leave out members, or source")
        if name in (document.services or {}):
            raise InvalidInput(f"{name} is a group and a service", fix="give one of them another name")
    for _, who, texts in _list_given(document):
        for text in texts:
            if text != " ".join(text.split()) or text.count(" ") > 1:
                raise InvalidInput(
                    f"{who}: no role is written {text[:80]!r}", fix="promoter, or with its lines: promoter bert-*@prod"
                )


def people_named(document: AccessDocument) -> set[str]:
    """Return who a document names that is no group and no service of it."""
    named = {who for _, who, _ in _list_given(document)}
    named |= {who for group in (document.groups or {}).values() for who in group.members}
    named |= {service.owner for service in (document.services or {}).values()}
    return named - (document.groups or {}).keys() - (document.services or {}).keys()


def _list_given(document: AccessDocument) -> list[tuple[str | None, str, list[str]]]:
    places = [(None, document.everywhere), *((name, one.members) for name, one in document.namespaces.items())]
    return [(place, who, roles) for place, members in places for who, roles in (members or {}).items()]


def limits_declared(document: AccessDocument) -> dict[str, Limits]:
    """Return the limits that a document declares, by whose they are: a namespace, `@ana`, or all of them."""
    quota = document.quota
    of_all = {} if quota is None else {ALL_NAMESPACES: quota.namespaces, ALL_PEOPLE: quota.people}
    of_principals = {} if quota is None else {f"@{name}": most for name, most in (quota.principals or {}).items()}
    of_namespaces = {name: one.quota for name, one in sorted(document.namespaces.items())}
    every = {**of_all, **dict(sorted(of_principals.items())), **of_namespaces}
    return {name: limits for name, limits in every.items() if limits is not None}


def limits_left_out(conn: sa.Connection, document: AccessDocument) -> list[str]:
    """List the principals with limits of their own that a document does not declare, although it does so of others."""
    declared = None if document.quota is None else document.quota.principals
    return [] if declared is None else [f"@{name}" for name in sorted(limits_of_principals(conn).keys() - declared)]


def limits_now(conn: sa.Connection, name: str) -> Limits:
    """Return the limits that a name has of its own."""
    return limits_of(conn, name)


def end_limit_command(name: str, resource: str) -> str:
    """Write the command that takes a limit away."""
    whose = {ALL_NAMESPACES: "", ALL_PEOPLE: "@ "}.get(name, f"{name} ")
    return f"deltareg quota set {whose}{resource}=default"


def set_limits(conn: sa.Connection, caller: Caller, name: str, limits: Limits) -> None:
    """Replace all limits of a name."""
    set_limits_in(conn, caller, name, limits)


def at(name: str, namespace: str | None) -> str:
    """Name somebody, or a role, with its place."""
    return f"{name} everywhere" if namespace is None else f"{name} in {namespace}"


def end_command(row: GrantRow) -> str:
    """Write the command that takes a role away."""
    where = "--everywhere" if row.namespace is None else row.namespace
    pattern = f" --pattern '{row.pattern}'" if row.pattern else ""
    return f"deltareg member rm {where} {row.principal} --role {row.role}{pattern}"


def write_group(source: str, members: Sequence[str]) -> dict[str, object]:
    """Write a group as files do."""
    return {"source": source} if source else {"members": list(members)}


def namespace_exists(conn: sa.Connection, name: str) -> bool:
    """Whether there is a namespace of a name."""
    return delta_queries.namespace_id(conn, name) is not None


def roles_for_all(conn: sa.Connection) -> dict[str, list[str]]:
    """Return the roles of one's own for all namespaces, with their rights."""
    return {row.name: row.rights.split("+") for row in role_queries.role_rows(conn)}


def seen_groups(conn: sa.Connection, caller: Caller) -> dict[str, DeclaredGroup]:
    """Return the groups that the caller sees."""
    return groups_seen(conn, caller)


def add_person(conn: sa.Connection, caller: Caller, name: str) -> None:
    """Add a person who is to sign in later, or to get a token."""
    caller.require(Right.ADMIN, on=EVERYTHING)
    find_or_add_person(conn, name)


def set_service(conn: sa.Connection, caller: Caller, name: str, owner: str) -> None:
    """Make a service account, or hand it over, which revokes its tokens."""
    caller.require(Right.ADMIN, on=EVERYTHING)
    row = principal_queries.principal_row(conn, parse_name(name, "service"))
    if row is None:
        service = principal_queries.add_principal(conn, name, kind=_SERVICE)
        owner_queries.set_owner(conn, service, find_owner(conn, owner).id, created_by=caller.principal_id)
        after = {"owner": owner, "tokens_revoked": 0}
        caller.record(conn, Action.PRINCIPAL_GIVE, f"principal/{name}", on=EVERYTHING, before=None, after=after)
        return
    check_kind(name, row.kind, wanted=_SERVICE)
    hand_over_in(conn, caller, row, to=owner)


def change_group(
    conn: sa.Connection,
    caller: Caller,
    name: str,
    *,
    source: str | None = None,
    joins: str | None = None,
    leaves: str | None = None,
) -> None:
    """Make a group, or change who keeps it or who is in it."""
    if source is not None:
        set_group_in(conn, caller, GroupSet(name=name, source=source))
    if joins is not None:
        join_group_in(conn, caller, name, joins)
    if leaves is not None:
        leave_group_in(conn, caller, name, leaves)


def remove_group(conn: sa.Connection, caller: Caller, name: str) -> None:
    """Remove a group."""
    remove_group_in(conn, caller, name)


def define_role(conn: sa.Connection, caller: Caller, name: str, namespace: str | None, rights: Sequence[str]) -> None:
    """Define a role of one's own."""
    set_role_in(conn, caller, RoleSet(name=name, namespace=namespace, rights=[*rights]))


def undefine_role(conn: sa.Connection, caller: Caller, name: str, namespace: str | None) -> None:
    """Remove a role of one's own."""
    remove_role_in(conn, caller, name, namespace)


def make_namespace(
    conn: sa.Connection, caller: Caller, name: str, visibility: Visibility, owners: Sequence[str]
) -> None:
    """Make a namespace; the caller owns it where the document names no owner."""
    caller.require(Right.ADMIN, on=EVERYTHING)
    check_free(parse_name(name, "namespace"))
    check_unnamed(conn, name)
    added = delta_queries.add_namespace(conn, name, created_by=caller.principal_id)
    if not added.is_new:
        raise Conflict(f"the name {name} is taken", fix="choose another one")
    if not owners:
        give_owner(conn, caller, added.id)
    after = {"visibility": "internal"}
    place = Namespace(name)
    caller.record(conn, Action.NAMESPACE_CREATE, f"namespace/{name}", on=place, before=None, after=after)
    set_visibility(conn, caller, name, visibility)


def set_visibility(conn: sa.Connection, caller: Caller, name: str, visibility: Visibility) -> None:
    """Make a namespace private, internal or public."""
    change_namespace_in(conn, caller, name, NamespaceChange(visibility=visibility))


def give_role(conn: sa.Connection, caller: Caller, who: str, namespace: str | None, text: str) -> None:
    """Give somebody a role, as files write it."""
    role, _, pattern = text.partition(" ")
    add_member_in(conn, caller, MemberAdd(principal=who, role=role, namespace=namespace, pattern=pattern))


def end_role(conn: sa.Connection, caller: Caller, grant_id: int) -> None:
    """Take a role away from somebody."""
    end_member_in(conn, caller, grant_id)
