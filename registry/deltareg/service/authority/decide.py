"""The one decision about who may do what, from a caller's grants, a right and a resource."""

from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

from deltareg.refs import LineRef
from deltareg.service.authority.grants import Grant, NamespacePart, NonPrivateNamespaces, PublicNamespaces, Reach, Right
from deltareg.service.authority.resources import (
    EVERYTHING,
    SHARED,
    SOMEWHERE,
    Base,
    Channel,
    GeneralResource,
    Namespace,
    Resource,
    namespace_of,
)


class AccessDecision(Enum):
    """The decision about one right on one resource."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    HIDDEN = "hidden"
    """It may not be read, and nothing else is allowed there: it is as if there were none."""


def decide(grants: Iterable[Grant], right: Right, on: Resource) -> AccessDecision:
    """Decide whether grants allow a right on a resource.

    Only names decide, so a refusal does not reveal whether the thing exists. A shared base may be
    read by anybody who may read anything, and pushed by anybody who may push everywhere.
    """
    held_grants = list(grants)
    having = [grant for grant in held_grants if grant.includes(right)]
    if any(_reaches(grant.reach, right, on) for grant in having):
        return AccessDecision.ALLOWED
    is_visible = on is EVERYTHING or on is SHARED or knows(held_grants, on)
    if right is Right.READ and having and not is_visible:
        return AccessDecision.HIDDEN
    return AccessDecision.REFUSED


@lru_cache(maxsize=16_384)
def decide_cached(grants: frozenset[Grant], right: Right, on: Resource) -> AccessDecision:
    """Decide as `decide` does and cache the answer, which depends on nothing else."""
    return decide(grants, right, on)


def knows(grants: Iterable[Grant], on: Resource) -> bool:
    """Whether grants let their holder know that a thing exists, whatever they may do with it."""
    return any(_shows(grant, on) for grant in grants)


def _shows(grant: Grant, on: Resource) -> bool:
    if isinstance(on, Namespace) and isinstance(grant.reach, NamespacePart):
        return grant.reach.namespace == on.name
    # A role on some channels shows the line that has them.
    is_part = isinstance(grant.reach, NamespacePart) and isinstance(on, LineRef)
    return _reaches(grant.reach, Right.READ if is_part else grant.right, on)


def _reaches(reach: Reach, right: Right, on: Resource) -> bool:
    if reach is GeneralResource.EVERYTHING or on is SOMEWHERE:
        return True
    if on is EVERYTHING or on is SHARED or (isinstance(on, Base) and on.namespace is None):
        return on is not EVERYTHING and right is Right.READ and not isinstance(reach, PublicNamespaces)
    return _covers(reach, right, on)


def _covers(reach: Reach, right: Right, on: Resource) -> bool:
    """Whether a reach that is limited to namespaces covers a resource."""
    name = namespace_of(on)
    match reach:
        case Namespace():
            return reach.name == name
        case NamespacePart():
            return reach.namespace == name and _is_part(reach, right, on)
        case NonPrivateNamespaces():
            return name not in reach.private
        case PublicNamespaces():
            return name in reach.public
        case _:
            return False


def _is_part(part: NamespacePart, right: Right, on: Resource) -> bool:
    match on:
        case LineRef():
            is_whole = not part.channels or right is Right.READ
            return is_whole and part.holds_line(on.name)
        case Base():
            return right is Right.READ or not part.channels if part.holds_line(on.line) else False
        case Channel():
            return part.holds_channel(on.line.name, on.name)
        case _:
            return False
