"""Where a role holds, a namespace or everywhere, and whether a caller may know of it."""

import sqlalchemy as sa

from deltareg.db.lines import deltas as delta_queries
from deltareg.refs import parse_name
from deltareg.service.authority.grants import Right
from deltareg.service.authority.refusals import absent
from deltareg.service.authority.resources import EVERYTHING, SOMEWHERE, Namespace, Resource
from deltareg.service.registry import Caller, needs_token


def check_seen(conn: sa.Connection, caller: Caller, name: str) -> int:
    """Return the id of a namespace that the caller may know of.

    Raises:
        NotFound: There is none, or the caller may not see it.
    """
    place = Namespace(parse_name(name, "namespace"))
    namespace_id = delta_queries.namespace_id(conn, name)
    if caller.is_anonymous:
        raise needs_token()
    caller.require(Right.READ, on=SOMEWHERE)
    if namespace_id is None or not caller.sees(place):
        raise absent(place)
    return namespace_id


def parse_place(namespace: str | None) -> Resource:
    """Read the name of a namespace; without one it is everything.

    Raises:
        InvalidInput: It is no name.
    """
    return EVERYTHING if namespace is None else Namespace(parse_name(namespace, "namespace"))


def find_namespace_id(conn: sa.Connection, namespace: str | None) -> int | None:
    """Give the id of a namespace; None for everything.

    Raises:
        NotFound: There is none.
    """
    if namespace is None:
        return None
    found = delta_queries.namespace_id(conn, namespace)
    if found is None:
        raise absent(Namespace(namespace))
    return found
