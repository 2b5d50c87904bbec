"""Quotas: what namespaces and people may have, and what they use."""

from typing import Annotated

from fastapi import Path

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.routes.members import NamespaceName
from deltareg.service.access.limits import ALL_NAMESPACES
from deltareg.service.quotas import quotas as service
from deltareg.wire import Page, QuotaInfo, QuotaSet

router = closed_router("quotas")

PrincipalName = Annotated[str, Path(max_length=64)]


@router.get("/quotas")
def list_quotas(registry: InRegistry, by: By, cursor: str | None = None, limit: int = 50) -> Page[QuotaInfo]:
    """List quotas by name, with what is used of them."""
    return service.list_quotas(registry, by, cursor=cursor, limit=limit)


@router.get("/quota")
def show_common_quota(registry: InRegistry, by: By) -> QuotaInfo:
    """Show the limits of each namespace that has none of its own."""
    return service.show_quota(registry, by, ALL_NAMESPACES)


@router.put("/quota")
def set_common_quota(registry: InRegistry, by: By, body: QuotaSet) -> QuotaInfo:
    """Replace the limits of each namespace that has none of its own."""
    return service.set_quota(registry, by, ALL_NAMESPACES, body)


@router.get("/namespaces/{ns}/quota")
def show_namespace_quota(registry: InRegistry, by: By, ns: NamespaceName) -> QuotaInfo:
    """Show what a namespace may have and uses."""
    return service.show_quota(registry, by, ns)


@router.put("/namespaces/{ns}/quota")
def set_namespace_quota(registry: InRegistry, by: By, ns: NamespaceName, body: QuotaSet) -> QuotaInfo:
    """Replace all limits of a namespace, which need not be there yet."""
    return service.set_quota(registry, by, ns, body)


@router.get("/principals/{principal}/quota")
def show_principal_quota(registry: InRegistry, by: By, principal: PrincipalName) -> QuotaInfo:
    """Show what a person with their scripts, or a script, may have and uses; `*` is each person."""
    return service.show_quota(registry, by, f"@{principal}")


@router.put("/principals/{principal}/quota")
def set_principal_quota(registry: InRegistry, by: By, principal: PrincipalName, body: QuotaSet) -> QuotaInfo:
    """Replace all limits of a person, of a script, or with `*` of each person that has none of their own."""
    return service.set_quota(registry, by, f"@{principal}", body)
