"""Groups with their members, and roles of one's own."""

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.routes.members import Named
from deltareg.service.access import groups, roles
from deltareg.wire import GroupDetail, GroupInfo, GroupJoin, GroupSet, Page, RoleInfo, RoleSet

router = closed_router("members")


@router.get("/groups")
def list_groups(registry: InRegistry, by: By, cursor: str | None = None, limit: int = 50) -> Page[GroupInfo]:
    """List groups by name."""
    return groups.list_groups(registry, by, cursor=cursor, limit=limit)


@router.post("/groups")
def set_group(registry: InRegistry, by: By, body: GroupSet) -> GroupDetail:
    """Make a group, or say who keeps its members."""
    return groups.set_group(registry, by, body)


@router.get("/groups/{name}")
def show_group(registry: InRegistry, by: By, name: str) -> GroupDetail:
    """Show a group, who is in it, and what it holds."""
    return groups.show_group(registry, by, name)


@router.delete("/groups/{name}")
def remove_group(registry: InRegistry, by: By, name: str) -> GroupDetail:
    """Remove a group, and take away what it holds."""
    return groups.remove_group(registry, by, name)


@router.post("/groups/{name}/members")
def join_group(registry: InRegistry, by: By, name: str, body: GroupJoin) -> GroupDetail:
    """Take somebody into a group."""
    return groups.join_group(registry, by, name, body.principal)


@router.delete("/groups/{name}/members/{principal}")
def leave_group(registry: InRegistry, by: By, name: str, principal: str) -> GroupDetail:
    """Take somebody out of a group."""
    return groups.leave_group(registry, by, name, principal)


@router.get("/roles")
def list_roles(registry: InRegistry, by: By, namespace: Named = None) -> Page[RoleInfo]:
    """List the roles that may be given, built-in ones first."""
    namespace = None if namespace is None else by.current_namespace(namespace)
    return roles.list_roles(registry, by, namespace)


@router.post("/roles")
def set_role(registry: InRegistry, by: By, body: RoleSet) -> RoleInfo:
    """Define a role of one's own, or change what it gives, at once."""
    return roles.set_role(registry, by, body)


@router.delete("/roles/{name}")
def remove_role(registry: InRegistry, by: By, name: str, namespace: Named = None) -> RoleInfo:
    """Remove a role, and take it from all who hold it."""
    return roles.remove_role(registry, by, name, namespace)
