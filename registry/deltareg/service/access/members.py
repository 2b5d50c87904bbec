"""Members: who holds which role in a namespace or everywhere; adding, listing and removing them."""

import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import sqlalchemy as sa

from deltareg.db.access import grants as queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.access.groups import KIND, lock_group
from deltareg.db.access.rows import GrantRow
from deltareg.db.session import read, with_retry
from deltareg.errors import Conflict, InvalidInput, NotFound
from deltareg.refs import parse_name
from deltareg.service.access.giving import check_may_give
from deltareg.service.access.group_sight import sees_group
from deltareg.service.access.places import check_seen as check_seen
from deltareg.service.access.places import find_namespace_id as find_namespace_id
from deltareg.service.access.places import parse_place as parse_place
from deltareg.service.access.roles import GivenRole, end_grant, rights_of, role_to_give
from deltareg.service.authority.caller_grants import HeldRole
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SOMEWHERE, Namespace
from deltareg.service.authority.roles import Role
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry, needs_token
from deltareg.wire import MemberAdd, MemberInfo, Page

_PATTERN = re.compile(r"[a-z0-9._*-]{1,64}(@[a-z0-9._*-]{1,64})?")
_KEPT = {True: Role.ADMIN, False: Role.OWNER}
"""The role that somebody has to keep: everywhere, and in a namespace."""


def add_member(registry: Registry, caller: Caller, request: MemberAdd) -> MemberInfo:
    """Give a principal or a group a role; a role that it already holds there stays as it is.

    Raises:
        Forbidden: The caller manages no members there, or would give rights that it lacks.
        NotFound: There is no such namespace, or no such principal or group that the caller sees.
        InvalidInput: The role does not exist for that place, or the pattern is malformed.
    """
    return with_retry(registry.engine, lambda conn: add_member_in(conn, caller, request))


def add_member_in(conn: sa.Connection, caller: Caller, request: MemberAdd) -> MemberInfo:
    """Do what `add_member` does, in a transaction."""
    namespace, place = request.namespace, parse_place(request.namespace)
    caller.require(Right.ADMIN if namespace is None else Right.MAINTAIN, on=place)
    namespace_id = find_namespace_id(conn, namespace)
    role = role_to_give(conn, request.role, namespace, namespace_id)
    _check_pattern(role, namespace, request.pattern)
    check_may_give(caller, role.rights, namespace=namespace)
    owner = _find_holder(conn, caller, request.principal)
    is_new = queries.add_grant(
        conn,
        owner,
        role=role.name,
        namespace_id=namespace_id,
        pattern=request.pattern,
        created_by=caller.principal_id,
        role_id=role.row_id,
    )
    grants = queries.grant_rows(
        conn, namespace_id=namespace_id, everywhere=namespace is None, principal_id=owner, role=role.name
    )
    row = next(row for row in grants if row.pattern == request.pattern)
    if is_new:
        after = {"role": role.name, "pattern": request.pattern}
        subject = f"member/{namespace or '*'}/{row.principal}"
        caller.record(conn, Action.MEMBER_ADD, subject, on=place, before=None, after=after)
    return describe_member(row)


def list_members(
    registry: Registry, caller: Caller, namespace: str | None, *, cursor: str | None, limit: int
) -> Page[MemberInfo]:
    """List who holds which role in a namespace, or everywhere if `namespace` is None.

    Those who see the namespace may list it; only admins may list everywhere.

    Raises:
        NotFound: The caller sees no such namespace.
    """
    if namespace is None:
        caller.require(Right.ADMIN, on=EVERYTHING)
    after = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        place = None if namespace is None else check_seen(conn, caller, namespace)
        rows = queries.grant_rows(
            conn, namespace_id=place, everywhere=namespace is None, after=after, limit=check_limit(limit) + 1
        )
    is_managed = namespace is None or caller.may(Right.MAINTAIN, on=Namespace(namespace))
    hidden = {} if is_managed else {"last_used_at": None}  # of others' tokens only who manages hears
    return page(rows, limit, key=lambda row: row.id, show=lambda row: describe_member(row).model_copy(update=hidden))


def end_member(registry: Registry, caller: Caller, grant_id: int) -> MemberInfo:
    """Take a role away at once; anybody may give up their own, with a token that could use it.

    Raises:
        NotFound: The caller sees no grant with that number.
        Forbidden: The caller could not give the role, so it may not take it away.
        Conflict: The namespace would have no owner left, or the registry no admin.
    """
    return with_retry(registry.engine, lambda conn: end_member_in(conn, caller, grant_id))


def end_member_in(conn: sa.Connection, caller: Caller, grant_id: int) -> MemberInfo:
    """Do what `end_member` does, in a transaction."""
    if caller.is_anonymous:
        raise needs_token()
    caller.require(Right.READ, on=SOMEWHERE)
    row = queries.grant_row(conn, grant_id)
    if row is None or not (_is_own(caller, row) or _sees(caller, row)):
        raise NotFound(f"there is no role of number {grant_id}", fix="deltareg member ls NS")
    # Of one's own with a token that could use it: one that leaked takes nothing away.
    rights = rights_of(row)
    used = HeldRole(row.role, rights, row.namespace, row.pattern).grants
    if not (_is_own(caller, row) and caller.grants.issuperset(used)):
        check_may_give(caller, rights, namespace=row.namespace)
    with keep_somebody(conn, [row]):
        end_grant(conn, caller, row)
    return describe_member(row)


@contextmanager
def keep_somebody(conn: sa.Connection, rows: Iterable[GrantRow]) -> Generator[None, None, None]:
    """Refuse a change after which nobody would own a namespace, or be admin, because of these grants.

    What a group holds its members hold, so it is asked again once the change is made.

    Raises:
        Conflict: Somebody held the role before, and nobody would.
    """
    kept = [row for row in rows if row.role == _KEPT[row.namespace is None]]
    before = [(row, find_namespace_id(conn, row.namespace)) for row in kept]
    held = [(row, place) for row, place in before if queries.lock_keepers(conn, place, row.role)]
    yield
    for row, place in held:
        if not queries.lock_keepers(conn, place, row.role):
            raise _refuse_to_end(row)


def describe_member(row: GrantRow) -> MemberInfo:
    """Describe a role that somebody holds."""
    return MemberInfo(
        id=row.id,
        principal=row.principal,
        kind=row.kind,
        person=row.person,
        namespace=row.namespace,
        role=row.role,
        rights=sorted(rights_of(row)),
        pattern=row.pattern,
        is_legacy=row.is_legacy,
        given_by=row.created_by or "registry",
        given_at=rfc3339(row.created_at),
        last_used_at=rfc3339_or_none(row.last_used_at),
    )


def _check_pattern(role: GivenRole, namespace: str | None, pattern: str) -> None:
    if not pattern:
        return
    if namespace is None:
        raise InvalidInput("a pattern is about the lines of a namespace", fix="name one")
    if _PATTERN.fullmatch(pattern) is None:
        raise InvalidInput(f"no pattern of lines: {pattern[:80]!r}", fix="bert-*, or bert-*@prod")
    if not role.fits(pattern):
        what = "whole lines" if "@" in pattern and role.fits(pattern.partition("@")[0]) else "all of a namespace"
        raise InvalidInput(f"{role.name} is about {what}", fix=f"leave out {pattern!r}, or choose another role")


def _refuse_to_end(row: GrantRow) -> Conflict:
    where, what = row.namespace or "this registry", "owner" if row.namespace else "admin"
    fix = f"{row.namespace} NAME --role owner" if row.namespace else "--everywhere NAME --role admin"
    last = f"in {row.principal} are the last who are" if row.kind == KIND else f"{row.principal} is the last"
    return Conflict(f"{last} {what} of {where}", fix=f"give it to somebody else first: deltareg member add {fix}")


def _sees(caller: Caller, row: GrantRow) -> bool:
    if row.namespace is None:
        return caller.may(Right.ADMIN, on=EVERYTHING)
    return caller.sees(Namespace(row.namespace))


def _is_own(caller: Caller, row: GrantRow) -> bool:
    return row.principal_id == caller.principal_id


def _find_holder(conn: sa.Connection, caller: Caller, name: str) -> int:
    """Find who is to get a role: somebody who acts, or a group that the caller sees."""
    row = principal_queries.principal_row(conn, parse_name(name, "principal"))
    is_hidden = row is not None and row.kind == KIND and not sees_group(conn, caller, row.id)
    if row is None or is_hidden or (row.kind == KIND and not lock_group(conn, row.id)):
        raise NotFound(
            f"there is no principal {name}",
            fix=f"an admin makes one with its first token: deltareg token create --for {name}",
        )
    return row.id
