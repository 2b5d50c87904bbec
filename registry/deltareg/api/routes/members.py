"""Namespaces, who holds which role in them, and why a principal may do something."""

from typing import Annotated

from fastapi import Depends, Query

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.parameters import Number
from deltareg.service.access import applying, explain, holders, members, namespaces, organisation, review
from deltareg.service.names import namespaces as names
from deltareg.wire import (
    AccessAnswer,
    AccessApply,
    AccessDocument,
    AccessFinding,
    AccessHolder,
    AccessPlan,
    MemberAdd,
    MemberInfo,
    NameChange,
    NamespaceChange,
    NamespaceCreate,
    NamespaceInfo,
    Page,
    Rename,
)

router = closed_router("members")

Named = Annotated[str | None, Query(max_length=64)]


async def namespace_of(by: By, ns: str) -> str:
    """Return the namespace in a path, by the name that it has now."""
    return by.current_namespace(ns)


NamespaceName = Annotated[str, Depends(namespace_of)]


@router.get("/namespaces")
def list_namespaces(registry: InRegistry, by: By, cursor: str | None = None, limit: int = 50) -> Page[NamespaceInfo]:
    """List namespaces by name, with their owners."""
    return namespaces.list_namespaces(registry, by, cursor=cursor, limit=limit)


@router.post("/namespaces", status_code=201)
def create_namespace(registry: InRegistry, by: By, body: NamespaceCreate) -> NamespaceInfo:
    """Make a namespace with nothing in it; who makes it owns it."""
    return namespaces.create_namespace(registry, by, body)


@router.get("/namespaces/{ns}")
def show_namespace(registry: InRegistry, by: By, ns: NamespaceName) -> NamespaceInfo:
    """Show a namespace."""
    return namespaces.show_namespace(registry, by, ns)


@router.patch("/namespaces/{ns}")
def change_namespace(registry: InRegistry, by: By, ns: NamespaceName, body: NamespaceChange) -> NamespaceInfo:
    """Make a namespace private, internal or public."""
    return namespaces.change_namespace(registry, by, ns, body)


@router.post("/namespaces/{ns}:rename")
def rename_namespace(registry: InRegistry, by: By, ns: NamespaceName, body: Rename) -> NameChange:
    """Give the namespace another name; its former one leads on."""
    return names.rename_namespace(registry, by, ns, body)


@router.get("/members")
def list_members(
    registry: InRegistry, by: By, namespace: Named = None, cursor: str | None = None, limit: int = 50
) -> Page[MemberInfo]:
    """List the roles in a namespace, or those that reach everything."""
    namespace = None if namespace is None else by.current_namespace(namespace)
    return members.list_members(registry, by, namespace, cursor=cursor, limit=limit)


@router.post("/members")
def add_member(registry: InRegistry, by: By, body: MemberAdd) -> MemberInfo:
    """Give a role to a principal, in a namespace or everywhere."""
    return members.add_member(registry, by, body)


@router.delete("/members/{member_id}")
def end_member(registry: InRegistry, by: By, member_id: Number) -> MemberInfo:
    """Take a role away, at once."""
    return members.end_member(registry, by, member_id)


@router.get("/access")
def export_access(registry: InRegistry, by: By) -> AccessDocument:
    """Write down groups, roles and members, as far as the caller sees them."""
    return organisation.export_access(registry, by)


@router.post("/access:apply")
def apply_access(registry: InRegistry, by: By, body: AccessApply) -> AccessPlan:
    """Make groups, roles, namespaces and members what a document says, all or nothing."""
    return applying.apply_access(registry, by, body)


@router.get("/access/explain")
def explain_access(
    registry: InRegistry,
    by: By,
    principal: Annotated[str, Query(max_length=64)],
    action: Annotated[str, Query(max_length=40)],
    ref: Annotated[str, Query(max_length=300)],
) -> AccessAnswer:
    """Say whether a principal may do something now, by what, and what would give it."""
    return explain.explain_access(registry, by, principal=principal, action=action, ref=ref)


@router.get("/access/holders")
def list_holders(
    registry: InRegistry,
    by: By,
    namespace: Named = None,
    right: Named = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[AccessHolder]:
    """List who may do what, by name: in a namespace, or anywhere; with a right, who has that."""
    place = None if namespace is None else by.current_namespace(namespace)
    return holders.list_holders(registry, by, place, right=right, cursor=cursor, limit=limit)


@router.get("/access/review")
def review_access(
    registry: InRegistry,
    by: By,
    namespace: Named = None,
    unused_days: Annotated[int, Query(ge=1, le=3650)] = 90,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[AccessFinding]:
    """List who holds what, with what looks like too much."""
    return review.review_access(registry, by, namespace, unused_days=unused_days, cursor=cursor, limit=limit)
