"""From the grants of a caller to what lists show: the same decision as `decide`, for many rows."""

from collections.abc import Iterable
from functools import lru_cache

from deltareg.db.access.sight import VisibleLines
from deltareg.service.authority.grants import Grant, NamespacePart, NonPrivateNamespaces, PublicNamespaces, Right
from deltareg.service.authority.resources import EVERYTHING, Namespace


@lru_cache(maxsize=1024)
def sight_of(grants: frozenset[Grant]) -> VisibleLines | None:
    """Return which lines somebody may read; None for all."""
    reaches = {grant.reach for grant in grants if grant.includes(Right.READ)}
    if EVERYTHING in reaches:
        return None
    visibilities: set[str] = set()
    if any(isinstance(reach, NonPrivateNamespaces) for reach in reaches):
        visibilities |= {"internal", "public"}
    if any(isinstance(reach, PublicNamespaces) for reach in reaches):
        visibilities.add("public")
    return VisibleLines(
        visibilities=tuple(sorted(visibilities)),
        namespaces=_sort_names(reach.name for reach in reaches if isinstance(reach, Namespace)),
        lines=tuple(sorted((reach.namespace, reach.lines) for reach in reaches if isinstance(reach, NamespacePart))),
    )


def _sort_names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))
