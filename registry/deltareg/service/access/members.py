"""Members: who holds which role in a namespace or everywhere; adding, listing and removing them."""

import re

import sqlalchemy as sa

from deltareg.db.access import grants as queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.access.rows import GrantRow
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.session import read, with_retry
from deltareg.errors import Conflict, InvalidInput, NotFound
from deltareg.refs import parse_name
from deltareg.service.access.giving import check_may_give
from deltareg.service.authority.grants import Right
from deltareg.service.authority.refusals import absent
from deltareg.service.authority.resources import EVERYTHING, SOMEWHERE, Namespace, Resource
from deltareg.service.authority.roles import OF_CHANNELS, OF_LINES, ONLY_EVERYWHERE, RIGHTS, Role
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry, needs_token
from deltareg.wire import MemberAdd, MemberInfo, Page

_PATTERN = re.compile(r"[a-z0-9._*-]{1,64}(@[a-z0-9._*-]{1,64})?")
_KEPT = {True: Role.ADMIN, False: Role.OWNER}
"""The role that somebody has to keep: everywhere, and in a namespace."""


def add_member(registry: Registry, caller: Caller, request: MemberAdd) -> MemberInfo:
    """Give a principal a role; a role that it already holds there stays as it is.

    Raises:
        Forbidden: The caller manages no members there, or would give rights that it lacks.
        NotFound: There is no such namespace, or no such principal.
        InvalidInput: The role does not exist for that place, or the pattern is malformed.
    """
    role, namespace = Role(request.role), request.namespace
    place = parse_place(namespace)
    caller.require(Right.ADMIN if namespace is None else Right.MAINTAIN, on=place)
    _check_role(role, namespace, request.pattern)
    check_may_give(caller, RIGHTS[role], namespace=namespace)

    def transaction(conn: sa.Connection) -> MemberInfo:
        owner = _principal(conn, request.principal)
        namespace_id = find_namespace_id(conn, namespace)
        is_new = queries.add_grant(
            conn, owner, role=role, namespace_id=namespace_id, pattern=request.pattern, created_by=caller.principal_id
        )
        grants = queries.grant_rows(
            conn, namespace_id=namespace_id, everywhere=namespace is None, principal_id=owner, role=role
        )
        row = next(row for row in grants if row.pattern == request.pattern)
        if is_new:
            after = {"role": role, "pattern": request.pattern}
            subject = _subject(row)
            caller.record(conn, Action.MEMBER_ADD, subject, on=place, before=None, after=after)
        return describe_member(row)

    return with_retry(registry.engine, transaction)


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
    if caller.is_anonymous:
        raise needs_token()
    caller.require(Right.READ, on=SOMEWHERE)

    def transaction(conn: sa.Connection) -> MemberInfo:
        row = queries.grant_row(conn, grant_id)
        if row is None or not (_is_own(caller, row) or _sees(caller, row)):
            raise NotFound(f"there is no role of number {grant_id}", fix="deltareg member ls NS")
        # Of one's own with a token that could use it: one that leaked takes nothing away.
        on, rights = parse_place(row.namespace), RIGHTS[Role(row.role)]
        if not (_is_own(caller, row) and all(caller.may(right, on=on) for right in rights)):
            check_may_give(caller, rights, namespace=row.namespace)
        _check_kept(conn, row)
        queries.end_grant(conn, row.id, ended_by=caller.principal_id)
        before = {"role": row.role, "pattern": row.pattern}
        place = parse_place(row.namespace)
        caller.record(conn, Action.MEMBER_END, _subject(row), on=place, before=before, after=None)
        return describe_member(row)

    return with_retry(registry.engine, transaction)


def check_seen(conn: sa.Connection, caller: Caller, name: str) -> int:
    """Return the id of a namespace that the caller may know of.

    Raises:
        NotFound: There is none, or the caller may not see it.
    """
    place = Namespace(parse_name(name, "namespace"))
    namespace_id = delta_queries.namespace_id(conn, name)
    if caller.is_anonymous:
        raise needs_token()
    caller.require(Right.READ, on=SOMEWHERE)
    if namespace_id is None or not caller.sees(place):
        raise absent(place)
    return namespace_id


def parse_place(namespace: str | None) -> Resource:
    """Read the name of a namespace; without one it is everything.

    Raises:
        InvalidInput: It is no name.
    """
    return EVERYTHING if namespace is None else Namespace(parse_name(namespace, "namespace"))


def find_namespace_id(conn: sa.Connection, namespace: str | None) -> int | None:
    """Give the id of a namespace; None for everything.

    Raises:
        NotFound: There is none.
    """
    if namespace is None:
        return None
    found = delta_queries.namespace_id(conn, namespace)
    if found is None:
        raise absent(Namespace(namespace))
    return found


def describe_member(row: GrantRow) -> MemberInfo:
    """Describe a role that somebody holds."""
    return MemberInfo(
        id=row.id,
        principal=row.principal,
        kind=row.kind,
        person=row.person,
        namespace=row.namespace,
        role=row.role,
        rights=sorted(RIGHTS[Role(row.role)]),
        pattern=row.pattern,
        is_legacy=row.is_legacy,
        given_by=row.created_by or "registry",
        given_at=rfc3339(row.created_at),
        last_used_at=rfc3339_or_none(row.last_used_at),
    )


def _check_role(role: Role, namespace: str | None, pattern: str) -> None:
    if namespace is not None and role in ONLY_EVERYWHERE:
        instead = "owner" if role is Role.ADMIN else "pusher, who may ask for verifications"
        raise InvalidInput(f"{role} is a role for everywhere", fix=f"in a namespace: {instead}")
    if namespace is None and role in {Role.OWNER, Role.MAINTAINER}:
        raise InvalidInput(f"nobody is {role} of everything", fix="name a namespace, or: admin")
    if not pattern:
        return
    if namespace is None:
        raise InvalidInput("a pattern is about the lines of a namespace", fix="name one")
    if _PATTERN.fullmatch(pattern) is None:
        raise InvalidInput(f"no pattern of lines: {pattern[:80]!r}", fix="bert-*, or bert-*@prod")
    if role not in (OF_CHANNELS if "@" in pattern else OF_LINES):
        choices = ", ".join(sorted(OF_CHANNELS if "@" in pattern else OF_LINES))
        raise InvalidInput(f"{role} is about all of a namespace", fix=f"with this pattern: {choices}")


def _check_kept(conn: sa.Connection, row: GrantRow) -> None:
    kept = _KEPT[row.namespace is None]
    if row.role != kept:
        return
    namespace_id = find_namespace_id(conn, row.namespace)
    if queries.lock_holders(conn, namespace_id, kept) < 2:
        where = row.namespace or "this registry"
        what = "owner" if row.namespace else "admin"
        raise Conflict(
            f"{row.principal} is the last {what} of {where}",
            fix=f"give it to somebody else first: deltareg member add {row.namespace} NAME --role owner"
            if row.namespace
            else "give it to somebody else first: deltareg member add --everywhere NAME --role admin",
        )


def _sees(caller: Caller, row: GrantRow) -> bool:
    if row.namespace is None:
        return caller.may(Right.ADMIN, on=EVERYTHING)
    return caller.sees(Namespace(row.namespace))


def _is_own(caller: Caller, row: GrantRow) -> bool:
    return row.principal_id == caller.principal_id


def _principal(conn: sa.Connection, name: str) -> int:
    principal_id = principal_queries.principal_id(conn, parse_name(name, "principal"))
    if principal_id is None:
        raise NotFound(
            f"there is no principal {name}",
            fix=f"an admin makes one with its first token: deltareg token create --for {name}",
        )
    return principal_id


def _subject(row: GrantRow) -> str:
    return f"member/{row.namespace or '*'}/{row.principal}"
