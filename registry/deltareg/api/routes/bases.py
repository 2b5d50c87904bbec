"""Bases: list, show, manifest, storage. They are made by uploads."""

from fastapi import Request, Response

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.conditions import answer
from deltareg.service.bases import bases as service
from deltareg.service.verdicts import compat
from deltareg.suites.suite import DEFAULT_SUITE
from deltareg.wire import BaseInfo, CompatRow, Page

router = closed_router("bases", prefix="/bases")


@router.get("")
def list_bases(
    registry: InRegistry,
    by: By,
    root: str | None = None,
    hub_id: str | None = None,
    location: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[BaseInfo]:
    """List bases by name: all, or those with a root, an id of the hub, a place where they lie."""
    return service.list_bases(
        registry, by, root=root, hub_id=hub_id, location=location, cursor=cursor, limit=limit
    )


@router.get("/{base}", response_model=BaseInfo)
def show_base(request: Request, registry: InRegistry, by: By, base: str) -> Response:
    """Show one base."""
    return answer(request, service.show_base(registry, by, base))


@router.get("/{base}/compat")
def base_compat(
    registry: InRegistry,
    by: By,
    base: str,
    suite: str = DEFAULT_SUITE,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[CompatRow]:
    """List the versions of a base, newest first, and on which of its variants each is proven."""
    return compat.list_compat(registry, by, base, suite=suite, cursor=cursor, limit=limit)


@router.get("/{base}/manifest")
def base_manifest(registry: InRegistry, by: By, base: str) -> Response:
    """Give the base's manifest, byte for byte as it was received."""
    return Response(service.base_manifest_bytes(registry, by, base), media_type="application/json")


@router.get("/{base}/storage")
def base_storage(registry: InRegistry, by: By, base: str) -> Response:
    """Give the base's storage map."""
    return Response(service.base_storage_bytes(registry, by, base), media_type="application/json")
