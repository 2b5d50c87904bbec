"""Bases: list, show, manifest, storage. Uploads create them."""

from typing import Annotated

from fastapi import Depends, Request, Response

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.conditions import answer
from deltareg.refs import plain_base
from deltareg.service.bases import bases as service
from deltareg.service.bases import changes, probes
from deltareg.service.lines import lineage
from deltareg.service.verdicts import compat
from deltareg.suites.suite import DEFAULT_SUITE
from deltareg.wire import BaseDiff, BaseInfo, BaseProbeSet, BaseRename, CompatRow, FiguresReport, LineageAnswer, Page

router = closed_router("bases", prefix="/bases")


async def base_in_path(by: By, base: str) -> str:
    """Return the name of a base in an address, where `~` stands for the `/` after a namespace."""
    return by.current_base(plain_base(base.replace("~", "/", 1)))


Named = Annotated[str, Depends(base_in_path)]


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
    return service.list_bases(registry, by, root=root, hub_id=hub_id, location=location, cursor=cursor, limit=limit)


@router.get("/{base}", response_model=BaseInfo)
def show_base(request: Request, registry: InRegistry, by: By, base: Named) -> Response:
    """Show one base."""
    return answer(request, service.show_base(registry, by, base))


@router.get("/{base}/compat")
def base_compat(
    registry: InRegistry, by: By, base: Named, suite: str = DEFAULT_SUITE, cursor: str | None = None, limit: int = 50
) -> Page[CompatRow]:
    """List the versions of a base, newest first, and on which of its variants each is proven."""
    return compat.list_compat(registry, by, base, suite=suite, cursor=cursor, limit=limit)


@router.get("/{base}/lineage")
def base_lineage(registry: InRegistry, by: By, base: Named, depth: int = 10) -> LineageAnswer:
    """Walk from the base to the newest versions on it, and to what was made from those."""
    return lineage.show_base_lineage(registry, by, base, depth=depth)


@router.get("/{base}/manifest")
def base_manifest(registry: InRegistry, by: By, base: Named) -> Response:
    """Give the base's manifest, byte for byte as it was received."""
    return Response(service.base_manifest_bytes(registry, by, base), media_type="application/json")


@router.get("/{base}/storage")
def base_storage(registry: InRegistry, by: By, base: Named) -> Response:
    """Give the base's storage map."""
    return Response(service.base_storage_bytes(registry, by, base), media_type="application/json")


@router.get("/{base}/probes")
def base_probes(registry: InRegistry, by: By, base: Named) -> BaseProbeSet:
    """Give the general probe set of the base, with what workers found of the base on it."""
    return probes.show_probes(registry, by, base)


@router.post("/{base}/figures")
def add_base_figures(registry: InRegistry, by: By, base: Named, body: FiguresReport) -> BaseProbeSet:
    """Keep what an enrolled worker found of the base on its probes, and signed."""
    return probes.add_figures(registry, by, base, body)


@router.get("/{base}/diff")
def diff_bases(registry: InRegistry, by: By, base: Named, other: str) -> BaseDiff:
    """Say in which parts a base differs from another: tensors, config, tokenizer and so on."""
    return changes.diff_bases(registry, by, base, other)


@router.post("/{base}:rename")
def rename_base(registry: InRegistry, by: By, base: Named, body: BaseRename) -> BaseInfo:
    """Give a base another name in its namespace; the one before leads to it on."""
    return changes.rename_base(registry, by, base, body)


@router.delete("/{base}")
def delete_base(registry: InRegistry, by: By, base: Named, *, dry_run: bool = False) -> BaseInfo:
    """Delete a base on which nothing stands. With `dry_run` only look whether it may."""
    return changes.delete_base(registry, by, base, dry_run=dry_run)
