"""Who may do what in a namespace, or everywhere: for those who answer for it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.access import grants as queries
from deltareg.db.access import holders as holder_queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.access.holders import RoleFilter
from deltareg.db.access.rows import ActingRow, GrantRow, TokenRow
from deltareg.db.session import read
from deltareg.errors import InvalidInput
from deltareg.service.access.group_sight import groups_in_sight
from deltareg.service.access.places import check_seen
from deltareg.service.access.roles import rights_of
from deltareg.service.access.tokens import split_names
from deltareg.service.authority.grants import SCOPES, Right
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.authority.roles import RIGHTS, read_rights
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.paging import check_limit, page, read_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.wire import AccessHolder, HolderRole, HolderToken, Page


def list_holders(
    registry: Registry, caller: Caller, namespace: str | None, *, right: str | None, cursor: str | None, limit: int
) -> Page[AccessHolder]:
    """List by name who may do something in a namespace, by itself or everywhere; without one, anywhere.

    With a right, only who has it, and the roles that give it.

    Who is disabled may do nothing, and is left out. Of a token that is limited to namespaces only
    those are told that the answer is about, and tokens for other namespaces alone not at all.

    Raises:
        Forbidden: The caller manages no members there.
        NotFound: There is no such namespace.
        InvalidInput: There is no such right.
    """
    if right is not None and right not in frozenset(Right):
        raise InvalidInput(f"there is no right {right[:40]!r}", fix=f"one of {', '.join(sorted(SCOPES))}")
    on = EVERYTHING if namespace is None else Namespace(namespace)
    caller.require(Right.ADMIN if namespace is None else Right.MAINTAIN, on=on)
    after, most = read_cursor(cursor), check_limit(limit) + 1
    with read(registry.engine) as conn:
        place = None if namespace is None else check_seen(conn, caller, namespace)
        only = None if right is None else _roles_with(conn, right)
        acting = holder_queries.acting_rows(conn, namespace_id=place, only=only, after=after, limit=most)
        groups = holder_queries.groups_of_members(conn, [row.id for row in acting])
        rows = queries.grant_rows(
            conn,
            namespace_id=place,
            everywhere=place is not None,
            holders={*(row.id for row in acting), *(group for group, _ in groups)},
        )
        counted = [row for row in rows if right is None or right in rights_of(row)]
        roles = _roles_by_holder(conn, caller, counted, groups)
        tokens = _tokens_by_holder(conn, acting, namespace)
    return page(
        acting,
        limit,
        key=lambda row: row.name,
        show=lambda row: AccessHolder(
            principal=row.name,
            kind=row.kind,
            people=split_names(row.people),
            roles=roles[row.id],
            tokens=tokens.get(row.name, []),
        ),
    )


def _roles_with(conn: sa.Connection, right: str) -> RoleFilter:
    """Return the roles that give a right."""
    own = [row_id for row_id, rights in holder_queries.own_roles(conn).items() if right in read_rights(rights)]
    return RoleFilter([name for name, rights in RIGHTS.items() if right in rights], own)


def _roles_by_holder(
    conn: sa.Connection, caller: Caller, rows: Sequence[GrantRow], groups: Sequence[tuple[int, int]]
) -> Mapping[int, list[HolderRole]]:
    """Return the roles of each principal, and of the given members of each group, by their ids."""
    seen = groups_in_sight(conn, caller)
    members: dict[int, list[int]] = defaultdict(list)
    for group_id, member_id in groups:
        members[group_id].append(member_id)
    roles: dict[int, list[HolderRole]] = defaultdict(list)
    for row in rows:
        is_group = row.kind == "group"
        is_seen = seen is None or row.principal_id in seen
        role = _describe_role(row, group=(row.principal if is_seen else "") if is_group else None)
        for holder in members[row.principal_id] if is_group else [row.principal_id]:
            roles[holder].append(role)
    return roles


def _tokens_by_holder(
    conn: sa.Connection, acting: Sequence[ActingRow], namespace: str | None
) -> Mapping[str, list[HolderToken]]:
    tokens: dict[str, list[HolderToken]] = defaultdict(list)
    for row in principal_queries.live_tokens(conn, [each.id for each in acting]):
        if namespace is None or row.namespaces is None or namespace in row.namespaces:
            tokens[row.principal].append(_describe_token(row, namespace))
    return tokens


def _describe_role(row: GrantRow, *, group: str | None) -> HolderRole:
    return HolderRole(
        role=row.role,
        rights=sorted(rights_of(row)),
        namespace=row.namespace,
        pattern=row.pattern,
        group=group,
        given_by=row.created_by or "registry",
        given_at=rfc3339(row.created_at),
        is_legacy=row.is_legacy,
    )


def _describe_token(row: TokenRow, namespace: str | None) -> HolderToken:
    is_limited = row.namespaces is not None and namespace is not None
    return HolderToken(
        id=row.id,
        display=row.display,
        scopes=row.scopes,
        namespaces=[namespace] if is_limited and namespace else row.namespaces,
        last_used_at=rfc3339_or_none(row.last_used_at),
        expires_at=rfc3339_or_none(row.expires_at),
    )
