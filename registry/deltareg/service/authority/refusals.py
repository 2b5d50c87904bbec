"""The messages for what is not allowed, and for what does not exist or may not be seen."""

from deltareg.errors import Forbidden, NotFound
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base, Channel, GeneralResource, Namespace, Resource, namespace_of
from deltareg.service.authority.roles import ONLY_EVERYWHERE, ROLE_OF, role_within


def make_refusal(principal: str, right: Right, on: Resource, *, is_held: bool) -> Forbidden:
    """Build the error for a right that a token lacks.

    Args:
        principal: Whose token it is.
        right: The right.
        on: Where it lacks the right.
        is_held: Whether it has the right elsewhere.
    """
    if not is_held:
        return Forbidden(
            f"this token of {principal} does not allow {right.value!r}",
            fix=f"deltareg token create --for {principal} --scope {scope_for(right)};"
            f" where {principal} lacks the role: {_give(principal, right, namespace_of(on))}",
        )
    return Forbidden(
        f"this token of {principal} does not allow {right.value!r} on {on}",
        fix=f"deltareg access explain {principal} {right.value} {on}"
        f" tells why; or ask for it: {_give(principal, right, namespace_of(on))}"
        if not isinstance(on, GeneralResource)
        else f"ask for it: {_give(principal, right, None)}",
    )


def scope_for(right: Right) -> str:
    """Return the scope of the tokens that may use a right."""
    return Right.ADMIN.value if right is Right.MAINTAIN else right.value


def _give(principal: str, right: Right, namespace: str | None) -> str:
    if namespace is None:
        role = ROLE_OF[right]
        where = f"--everywhere {principal}" if role in ONLY_EVERYWHERE else f"NS {principal}"
        return f"deltareg member add {where} --role {role}"
    return f"deltareg member add {namespace} {principal} --role {role_within(right)}"


def absent(on: Namespace | LineRef | Channel | Base) -> NotFound:
    """Build the error for what does not exist or the caller may not see: both read alike."""
    match on:
        case Namespace():
            return NotFound(f"there is no namespace {on}", fix="deltareg ls")
        case Channel():
            return absent(on.line)
        case LineRef():
            return NotFound(f"there is no delta {on}", fix=f"deltareg ls {on.namespace}")
        case Base(name=name) if on.is_version:
            fix = f"deltareg push PATH NS/NAME --base {name}"
            return NotFound(f"{name} is the base of nothing yet", fix=fix)
        case Base(name=name):
            fix = f"deltareg base ls, or store it: deltareg base push PATH {name}"
            return NotFound(f"there is no base {name!r}", fix=fix)


def pretend_absent(on: Resource) -> NotFound:
    """Build the error for what a caller may not see.

    A `GeneralResource` is never hidden: passing one raises `TypeError`.
    """
    if isinstance(on, GeneralResource):
        raise TypeError(f"{on} is no thing that could be hidden")
    return absent(on)
