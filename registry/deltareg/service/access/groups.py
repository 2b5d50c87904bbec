"""Groups: admins make them and say who is in them, or a sign-in provider does; what a group holds, its members hold."""

from collections.abc import Iterable

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.access import groups as queries
from deltareg.db.access import owners as owner_queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.access.group_rows import GroupRow
from deltareg.db.access.groups import KIND, MembershipChange
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.errors import Conflict, InvalidInput, NotFound
from deltareg.refs import parse_name
from deltareg.service.access.giving import check_may_give
from deltareg.service.access.group_sight import groups_in_sight, sees_group
from deltareg.service.access.members import describe_member, keep_somebody
from deltareg.service.access.roles import end_grant, rights_of
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED, Namespace
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action, record_event
from deltareg.service.paging import check_limit, page, read_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.wire import GroupDetail, GroupInfo, GroupMember, GroupSet, Page

_KINDS = frozenset({"user", "service"})


def list_groups(registry: Registry, caller: Caller, *, cursor: str | None, limit: int) -> Page[GroupInfo]:
    """List the groups that the caller sees, by name."""
    caller.require(Right.READ, on=SHARED)
    after = read_cursor(cursor)
    with read(registry.engine) as conn:
        ids = groups_in_sight(conn, caller)
        rows = queries.group_rows(conn, ids=ids, after=after, limit=check_limit(limit) + 1)
    return page(rows, limit, show=_describe, key=lambda row: row.name)


def show_group(registry: Registry, caller: Caller, name: str) -> GroupDetail:
    """Show a group: who is in it, and what it holds as far as the caller sees that.

    Raises:
        NotFound: The caller sees no group of that name.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        return _show(conn, caller, _find(conn, caller, name))


def set_group(registry: Registry, caller: Caller, request: GroupSet) -> GroupDetail:
    """Make a group, or say who keeps its members from now on; those whom it has stay.

    Raises:
        Forbidden: The caller is no admin, or lets a provider give what the caller lacks.
        Conflict: Another principal has, or had, the name.
    """
    return with_retry(registry.engine, lambda conn: set_group_in(conn, caller, request))


def set_group_in(conn: sa.Connection, caller: Caller, request: GroupSet) -> GroupDetail:
    """Do what `set_group` does, in a transaction."""
    caller.require(Right.ADMIN, on=EVERYTHING)
    name = parse_name(request.name, "group")
    if request.source:
        parse_name(request.source, "provider")
    row = queries.group_row(conn, name)
    source = request.source if request.source is not None else "" if row is None else row.source
    if row is None:
        row = queries.add_group(conn, name, source=source, created_by=caller.principal_id)
        if row is None:
            raise Conflict(f"{name} is no group: somebody else is called that", fix="choose another name")
        _record(conn, caller, Action.GROUP_CREATE, name, before=None, after={"source": source})
    if row.source != source:
        if source:
            _check_may_fill(conn, caller, row)
        queries.set_source(conn, row.id, source)
        _record(conn, caller, Action.GROUP_SOURCE, name, before={"source": row.source}, after={"source": source})
    return _show(conn, caller, present(queries.group_row(conn, name)))


def remove_group(registry: Registry, caller: Caller, name: str) -> GroupDetail:
    """Remove a group and take away what it holds; its name stays its own.

    Raises:
        Forbidden: The caller is no admin.
        NotFound: There is no such group.
        Conflict: Services belong to it; or nobody would be left who owns a namespace, or is admin.
    """
    return with_retry(registry.engine, lambda conn: remove_group_in(conn, caller, name))


def remove_group_in(conn: sa.Connection, caller: Caller, name: str) -> GroupDetail:
    """Do what `remove_group` does, in a transaction."""
    row = _find_to_change(conn, caller, name)
    if owned := [each.name for each in owner_queries.owned_by(conn, [row.id])]:
        fix = f"hand it over first: deltareg principal give {owned[0]} --to NAME"
        raise Conflict(f"{', '.join(owned[:5])} belongs to the group {name}", fix=fix)
    shown = _show(conn, caller, row)
    grants = grant_queries.grant_rows(conn, principal_id=row.id)
    with keep_somebody(conn, grants):
        for grant in grants:
            end_grant(conn, caller, grant)
        queries.delete_group(conn, row.id)
    before = {"members": [member.name for member in shown.members], "source": row.source}
    _record(conn, caller, Action.GROUP_REMOVE, name, before=before, after=None)
    return shown


def join_group(registry: Registry, caller: Caller, name: str, principal: str) -> GroupDetail:
    """Take a person or a service into a group; it holds at once what the group holds.

    Raises:
        Forbidden: The caller is no admin, or lacks something that the group holds.
        NotFound: There is no such group, or no such principal.
        InvalidInput: The principal is a worker or a group, or a sign-in provider keeps the group.
    """
    return with_retry(registry.engine, lambda conn: join_group_in(conn, caller, name, principal))


def join_group_in(conn: sa.Connection, caller: Caller, name: str, principal: str) -> GroupDetail:
    """Do what `join_group` does, in a transaction."""
    row = _find_to_change(conn, caller, name)
    _check_by_hand(row)
    _check_may_fill(conn, caller, row)
    member = principal_queries.principal_row(conn, parse_name(principal, "principal"))
    if member is None:
        fix = f"it comes with its first sign-in, or token: deltareg token create --for {principal}"
        raise NotFound(f"there is no principal {principal}", fix=fix)
    if member.kind not in _KINDS:
        raise InvalidInput(
            f"{principal} is a {member.kind}: people and services are in groups",
            fix=f"name its members: deltareg group show {principal}"
            if member.kind == KIND
            else "give it a role itself",
        )
    if queries.add_membership(conn, row.id, member.id, created_by=caller.principal_id):
        _record(conn, caller, Action.GROUP_JOIN, f"{name}/{principal}", before=None, after={"source": ""})
    return _show(conn, caller, present(queries.group_row(conn, name)))


def leave_group(registry: Registry, caller: Caller, name: str, principal: str) -> GroupDetail:
    """Take somebody out of a group, and at once what they hold by it.

    Raises:
        Forbidden: The caller is no admin.
        NotFound: There is no such group, or it has no such member.
        InvalidInput: A sign-in provider keeps the group.
        Conflict: Nobody would be left who owns a namespace, or is admin.
    """
    return with_retry(registry.engine, lambda conn: leave_group_in(conn, caller, name, principal))


def leave_group_in(conn: sa.Connection, caller: Caller, name: str, principal: str) -> GroupDetail:
    """Do what `leave_group` does, in a transaction."""
    row = _find_to_change(conn, caller, name)
    _check_by_hand(row)
    member_id = principal_queries.principal_id(conn, parse_name(principal, "principal"))
    if member_id is None or not queries.is_member(conn, row.id, member_id):
        raise NotFound(f"{principal} is not in the group {name}", fix=f"deltareg group show {name}")
    with keep_somebody(conn, grant_queries.grant_rows(conn, principal_id=row.id)):
        queries.end_membership(conn, row.id, member_id)
    _record(conn, caller, Action.GROUP_LEAVE, f"{name}/{principal}", before={"source": ""}, after=None)
    return _show(conn, caller, present(queries.group_row(conn, name)))


def follow_provider(conn: sa.Connection, member_id: int, *, source: str, groups: Iterable[str]) -> MembershipChange:
    """Make a member's groups of a sign-in provider those that it names, and record each change.

    Args:
        conn: The transaction of the sign-in.
        member_id: Who signs in.
        source: The provider.
        groups: The groups that it says they are in.
    """
    change = queries.replace_memberships(conn, member_id, source=source, groups=groups)
    who = principal_queries.principal_name(conn, member_id)
    by = {"source": source}
    for action, subjects in (
        (Action.GROUP_CREATE, change.made),
        (Action.GROUP_JOIN, [f"{name}/{who}" for name in change.joined]),
        (Action.GROUP_LEAVE, [f"{name}/{who}" for name in change.left]),
    ):
        for subject in subjects:
            states = (by, None) if action is Action.GROUP_LEAVE else (None, by)
            record_event(
                conn, action, f"group/{subject}", on=EVERYTHING, before=states[0], after=states[1], actor="registry"
            )
    return change


def _find(conn: sa.Connection, caller: Caller, name: str) -> GroupRow:
    row = queries.group_row(conn, parse_name(name, "group"))
    if row is None or not sees_group(conn, caller, row.id):
        raise NotFound(f"there is no group {name}", fix="deltareg group ls")
    return row


def _find_to_change(conn: sa.Connection, caller: Caller, name: str) -> GroupRow:
    """Find a group that the caller may change, and lock it; for who does not see it there is none."""
    caller.require(Right.READ, on=SHARED)
    if not caller.may(Right.ADMIN, on=EVERYTHING):
        _find(conn, caller, name)  # which may say that there is none
        caller.require(Right.ADMIN, on=EVERYTHING)
    row = _find(conn, caller, name)
    if not queries.lock_group(conn, row.id):
        raise NotFound(f"there is no group {name}", fix="deltareg group ls")
    return row


def _check_by_hand(row: GroupRow) -> None:
    if row.source:
        raise InvalidInput(
            f"{row.source} keeps the members of {row.name}",
            fix=f"change them there; or keep them here: deltareg group add {row.name} --source ''",
        )


def _check_may_fill(conn: sa.Connection, caller: Caller, row: GroupRow) -> None:
    """Check that the caller may give all that comes with a membership."""
    for grant in grant_queries.grant_rows(conn, principal_id=row.id):
        check_may_give(caller, rights_of(grant), namespace=grant.namespace)


def _record(
    conn: sa.Connection, caller: Caller, action: Action, subject: str, *, before: object, after: object
) -> None:
    caller.record(conn, action, f"group/{subject}", on=EVERYTHING, before=before, after=after)


def _describe(row: GroupRow) -> GroupInfo:
    return GroupInfo(
        name=row.name,
        source=row.source,
        size=row.members,
        created_at=rfc3339(row.created_at),
        created_by=row.created_by or "registry",
    )


def _show(conn: sa.Connection, caller: Caller, row: GroupRow) -> GroupDetail:
    members = [
        GroupMember(
            name=member.name,
            kind=member.kind,
            is_disabled=member.is_disabled,
            added_at=rfc3339(member.created_at),
            added_by=member.created_by or row.source or "registry",
        )
        for member in queries.members_of(conn, [row.id])
    ]
    is_admin = caller.may(Right.ADMIN, on=EVERYTHING)
    grants = [
        describe_member(grant)
        for grant in grant_queries.grant_rows(conn, principal_id=row.id)
        if is_admin or grant.namespace is None or caller.sees(Namespace(grant.namespace))
    ]
    return GroupDetail(**dict(_describe(row)), members=members, roles=grants)
