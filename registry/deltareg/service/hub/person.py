"""The owner of a token, as hub clients ask for it: the principal, and where it may push."""

from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.db.access import namespaces
from deltareg.db.session import read
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE, Namespace
from deltareg.service.registry import Caller, Registry, needs_token

_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Person:
    """A principal, the namespaces that it may push to with its token, and whether it may push anywhere at all."""

    name: str
    pushes_to: Sequence[str]
    may_push: bool


def look_at_person(registry: Registry, caller: Caller) -> Person:
    """Return the principal of the token in use.

    Raises:
        Unauthenticated: The request has no token.
    """
    if caller.is_anonymous:
        raise needs_token()
    with read(registry.engine) as conn:
        rows = namespaces.namespace_rows(conn, sight=caller.sight, after=None, limit=_MOST)
    may = [row.name for row in rows if caller.may(Right.PUSH, on=Namespace(row.name))]
    return Person(caller.principal, may, caller.may(Right.PUSH, on=SOMEWHERE))
