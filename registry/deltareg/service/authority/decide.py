"""The one answer to who may do what: over the grants of a caller, a right and a resource."""

from collections.abc import Iterable
from enum import Enum

from deltareg.service.authority.grants import Grant, Right
from deltareg.service.authority.resources import EVERYTHING, SOMEWHERE, Base, Resource, namespace_of


class Decision(Enum):
    """What a caller is told."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    HIDDEN = "hidden"
    """It may not be read, and nothing else is allowed there: it is as if there were none."""


def decide(grants: Iterable[Grant], right: Right, on: Resource) -> Decision:
    """Decide whether grants allow something on a resource.

    It goes by names alone, so a refusal does not tell whether the thing is there. A base that all
    share is read by whoever may read anything, and pushed by who may push everywhere.
    """
    held = list(grants)
    having = [grant for grant in held if grant.includes(right)]
    if any(_reaches(grant, right, on) for grant in having):
        return Decision.ALLOWED
    is_visible = any(_reaches(grant, grant.right, on) for grant in held)
    if right is Right.READ and having and on is not EVERYTHING and not is_visible:
        return Decision.HIDDEN
    return Decision.REFUSED


def _reaches(grant: Grant, right: Right, on: Resource) -> bool:
    if grant.reach is EVERYTHING or on is SOMEWHERE:
        return True
    if isinstance(on, Base) and on.namespace is None:
        return right is Right.READ
    return grant.reach.name == namespace_of(on)
