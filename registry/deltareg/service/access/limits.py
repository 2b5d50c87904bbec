"""The limits of quotas as an admin sets them, by name: `team`, `@ana`, and for all others `*` and `@*`."""

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from deltareg.db.access.principals import principal_id, principal_name
from deltareg.db.quotas import limits as queries
from deltareg.db.quotas.limits import EACH_NAMESPACE, EACH_PERSON, limit_rows
from deltareg.db.sql.named_locks import lock_name
from deltareg.errors import NotFound
from deltareg.refs import parse_name
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.events import Action
from deltareg.service.registry import Caller, namespace_scope
from deltareg.words import QuotaResource

ALL_NAMESPACES: Final = "*"
ALL_PEOPLE: Final = "@*"
Limits = Mapping[QuotaResource, int | None]
OF_ALL: Final = {ALL_NAMESPACES: EACH_NAMESPACE, ALL_PEOPLE: EACH_PERSON}


def set_limits_in(conn: sa.Connection, caller: Caller, name: str, limits: Limits) -> None:
    """Replace all limits of a namespace, a person, or of all that have none of their own: as an admin.

    Raises:
        Forbidden: The caller is no admin.
        NotFound: There is no such person.
        InvalidInput: The name is none of a namespace.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    holder = find_holder(conn, name)
    lock_name(conn, "quotas")  # there may be no row yet that two who set limits could wait for
    before = {row.resource: row.most for row in limit_rows(conn, [holder])}
    if before == limits:
        return
    queries.replace_limits(conn, holder, {str(resource): most for resource, most in limits.items()})
    place = Namespace(name) if holder == namespace_scope(name) else EVERYTHING
    caller.record(conn, Action.QUOTA_SET, f"quota/{name}", on=place, before=before, after=dict(limits))


def find_holder(conn: sa.Connection, name: str) -> str:
    """Return the holder that a name stands for, as rows name it.

    Raises:
        NotFound: There is no such person.
    """
    if name in OF_ALL:
        return OF_ALL[name]
    if not name.startswith("@"):
        return namespace_scope(parse_name(name, "namespace"))
    row_id = principal_id(conn, name.removeprefix("@"))
    if row_id is None:
        raise NotFound(f"there is nobody called {name[1:65]}", fix="deltareg member ls")
    return f"{EACH_PERSON}{row_id}"


def limits_of(conn: sa.Connection, name: str) -> dict[QuotaResource, int | None]:
    """Return the limits that a name has of its own; none where there is nobody of that name yet."""
    try:
        holder = find_holder(conn, name)
    except NotFound:
        return {}
    return {row.resource: row.most for row in limit_rows(conn, [holder])}


def limits_of_principals(conn: sa.Connection) -> dict[str, dict[QuotaResource, int | None]]:
    """Return the limits of all principals that have some of their own, by their names."""
    found: dict[str, dict[QuotaResource, int | None]] = {}
    for row in limit_rows(conn):
        number = row.holder.removeprefix(EACH_PERSON)
        if row.holder.startswith(EACH_PERSON) and number:
            found.setdefault(principal_name(conn, int(number)), {})[row.resource] = row.most
    return found
