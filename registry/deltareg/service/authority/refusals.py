"""The words for what is not allowed, and for what is not there or not to be seen."""

from deltareg.errors import Forbidden, NotFound
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE, Base, Namespace, Resource, Whole


def refused(principal: str, right: Right, on: Resource) -> Forbidden:
    """Make the error for a right that a token does not have.

    Args:
        principal: Whose token it is.
        right: The right.
        on: Where it lacks the right; `SOMEWHERE` when it has it nowhere.
    """
    if on is SOMEWHERE:
        return Forbidden(
            f"this token of {principal} does not allow {right.value!r}",
            fix=f"ask for one: deltareg token create --for {principal} --scope {right.value}",
        )
    return Forbidden(
        f"this token of {principal} does not allow {right.value!r} on {on}",
        fix="name what it allows, or ask for a token that allows this",
    )


def absent(on: Namespace | LineRef | Base) -> NotFound:
    """Make the error for what is not there, or is not for the caller to see: they read alike."""
    match on:
        case Namespace():
            return NotFound(f"there is no namespace {on}", fix="deltareg ls")
        case LineRef():
            return NotFound(f"there is no delta {on}", fix=f"deltareg ls {on.namespace}")
        case Base(name=name) if on.is_version:
            fix = f"deltareg push PATH NS/NAME --base {name}"
            return NotFound(f"{name} is the base of nothing yet", fix=fix)
        case Base(name=name):
            fix = f"deltareg base ls, or store it: deltareg base push PATH {name}"
            return NotFound(f"there is no base {name!r}", fix=fix)


def hidden(on: Resource) -> NotFound:
    """Make the error for what a caller may not see.

    A whole is never hidden.
    """
    if isinstance(on, Whole):
        raise TypeError(f"{on} is no thing that could be hidden")
    return absent(on)
