"""Access as a document: what a registry has of it, as far as a caller sees that."""

from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.access import groups as group_queries
from deltareg.db.access import namespaces as namespace_queries
from deltareg.db.access import owners as owner_queries
from deltareg.db.access import roles as role_queries
from deltareg.db.access.rows import GrantRow
from deltareg.db.session import read
from deltareg.service.access.group_sight import groups_in_sight
from deltareg.service.access.limits import ALL_NAMESPACES, ALL_PEOPLE, limits_of, limits_of_principals
from deltareg.service.access.places import find_namespace_id
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED
from deltareg.service.registry import Caller, Registry
from deltareg.wire import AccessDocument, DeclaredGroup, DeclaredNamespace, DeclaredQuota, DeclaredService


def export_access(registry: Registry, caller: Caller) -> AccessDocument:
    """Write down all about access that the caller sees; of everything only for an admin."""
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        rows = namespace_queries.namespace_rows(conn, sight=caller.sight, after=None, limit=10_000)
        return read_access(conn, caller, [row.name for row in rows])


def read_access(conn: sa.Connection, caller: Caller, namespaces: Sequence[str]) -> AccessDocument:
    """Write down the groups that the caller sees, some namespaces, and for an admin what reaches everything."""
    is_admin = caller.may(Right.ADMIN, on=EVERYTHING)
    return AccessDocument(
        services=services_of(conn) if is_admin else None,
        groups=groups_seen(conn, caller),
        roles={row.name: row.rights.split("+") for row in role_queries.role_rows(conn)},
        everywhere=given_roles(grant_queries.grant_rows(conn, everywhere=True)) if is_admin else None,
        quota=read_quota(conn) if is_admin else None,
        namespaces={name: read_namespace(conn, name) for name in namespaces},
    )


def read_namespace(conn: sa.Connection, name: str) -> DeclaredNamespace:
    """Write down a namespace that there is."""
    namespace_id = find_namespace_id(conn, name)
    row = namespace_queries.namespace_row(conn, name)
    own = [row for row in role_queries.role_rows(conn, namespace_id) if row.namespace == name]
    return DeclaredNamespace(
        visibility=None if row is None else row.visibility,
        roles={each.name: each.rights.split("+") for each in own},
        members=given_roles(grant_queries.grant_rows(conn, namespace_id=namespace_id)),
        quota=limits_of(conn, name),
    )


def read_quota(conn: sa.Connection) -> DeclaredQuota:
    """Write down the limits that are of no one namespace."""
    return DeclaredQuota(
        namespaces=limits_of(conn, ALL_NAMESPACES),
        people=limits_of(conn, ALL_PEOPLE),
        principals=limits_of_principals(conn),
    )


def groups_seen(conn: sa.Connection, caller: Caller) -> dict[str, DeclaredGroup]:
    """Write down the groups that the caller sees; members only where people keep them."""
    rows = group_queries.group_rows(conn, ids=groups_in_sight(conn, caller))
    by_group: dict[int, list[str]] = defaultdict(list)
    for member in group_queries.members_of(conn, [row.id for row in rows]):
        by_group[member.group_id].append(member.name)
    return {row.name: DeclaredGroup(members=[] if row.source else by_group[row.id], source=row.source) for row in rows}


def services_of(conn: sa.Connection) -> dict[str, DeclaredService]:
    """Write down the service accounts that have an owner."""
    rows = owner_queries.owned_by(conn)
    return {row.name: DeclaredService(owner=row.owner) for row in rows if row.kind == "service"}


def given_roles(rows: Sequence[GrantRow]) -> dict[str, list[str]]:
    """Write grants as files do: who, and `role` or `role pattern` of each."""
    given: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        given[row.principal].append(write_role(row.role, row.pattern))
    return {who: sorted(roles) for who, roles in sorted(given.items())}


def write_role(role: str, pattern: str) -> str:
    """Write a role with its lines or channels, as files do."""
    return f"{role} {pattern}" if pattern else role
