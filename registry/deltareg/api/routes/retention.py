"""Retention: which versions a namespace or a line keeps."""

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.routes.deltas import Line
from deltareg.api.routes.members import NamespaceName
from deltareg.refs import parse_name
from deltareg.service.authority.resources import Namespace
from deltareg.service.retention import rules as service
from deltareg.wire import RetentionInfo, RetentionSet

router = closed_router("retention")


@router.get("/namespaces/{ns}/retention")
def show_namespace_retention(registry: InRegistry, by: By, ns: NamespaceName) -> RetentionInfo:
    """Show what a namespace keeps, and what would go now."""
    return service.show_retention(registry, by, Namespace(parse_name(ns, "namespace")))


@router.put("/namespaces/{ns}/retention")
def set_namespace_retention(
    registry: InRegistry, by: By, ns: NamespaceName, body: RetentionSet, *, dry_run: bool = False
) -> RetentionInfo:
    """Replace the rules of a namespace, or only say what would go."""
    return service.set_retention(registry, by, Namespace(parse_name(ns, "namespace")), body, dry_run=dry_run)


@router.get("/deltas/{ns}/{name}/retention")
def show_line_retention(registry: InRegistry, by: By, line: Line) -> RetentionInfo:
    """Show what a line keeps, and what would go now."""
    return service.show_retention(registry, by, line)


@router.put("/deltas/{ns}/{name}/retention")
def set_line_retention(
    registry: InRegistry, by: By, line: Line, body: RetentionSet, *, dry_run: bool = False
) -> RetentionInfo:
    """Replace the rules of a line, or only say what would go."""
    return service.set_retention(registry, by, line, body, dry_run=dry_run)
