"""People, service accounts and machines; and requests for namespaces."""

from typing import Annotated

from fastapi import Query

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.parameters import Number
from deltareg.service.access import namespace_requests, offboarding, people
from deltareg.wire import NamespaceDecide, NamespaceRequestInfo, Page, PrincipalEntry, PrincipalGive, PrincipalInfo
from deltareg.words import NamespaceRequestState, PrincipalKind

router = closed_router("people")


@router.get("/principals")
def list_principals(
    registry: InRegistry, by: By, kind: PrincipalKind | None = None, cursor: str | None = None, limit: int = 50
) -> Page[PrincipalEntry]:
    """List people, service accounts and machines by name."""
    return offboarding.list_principals(registry, by, kind=kind, cursor=cursor, limit=limit)


@router.get("/principals/{principal}")
def show_principal(registry: InRegistry, by: By, principal: str) -> PrincipalInfo:
    """Show what there is of a principal, and what it would leave to others."""
    return offboarding.show_principal(registry, by, principal)


@router.post("/principals/{principal}:disable")
def disable_principal(registry: InRegistry, by: By, principal: str) -> PrincipalInfo:
    """Disable a principal at once: tokens, sessions and queued runs end."""
    return people.disable_person(registry, by, principal)


@router.post("/principals/{principal}:enable")
def enable_principal(registry: InRegistry, by: By, principal: str) -> PrincipalInfo:
    """Enable a principal again, with its roles and without its tokens."""
    return people.enable_person(registry, by, principal)


@router.post("/principals/{principal}:give")
def give_principal(registry: InRegistry, by: By, principal: str, body: PrincipalGive) -> PrincipalInfo:
    """Give a service account or a machine another owner, and revoke its tokens."""
    return people.hand_over(registry, by, principal, to=body.to)


@router.get("/namespace-requests")
def list_namespace_requests(
    registry: InRegistry,
    by: By,
    state: Annotated[NamespaceRequestState | None, Query()] = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[NamespaceRequestInfo]:
    """List requests for namespaces, newest first: all for admins, their own for others."""
    return namespace_requests.list_namespace_requests(registry, by, state=state, cursor=cursor, limit=limit)


@router.post("/namespace-requests/{request_id}:grant")
def grant_namespace(registry: InRegistry, by: By, request_id: Number, body: NamespaceDecide) -> NamespaceRequestInfo:
    """Make the namespace that somebody asked for, and give it to them."""
    return namespace_requests.grant_namespace(registry, by, request_id, reason=body.reason)


@router.post("/namespace-requests/{request_id}:refuse")
def refuse_namespace(registry: InRegistry, by: By, request_id: Number, body: NamespaceDecide) -> NamespaceRequestInfo:
    """Refuse a request for a namespace."""
    return namespace_requests.refuse_namespace(registry, by, request_id, reason=body.reason)
