"""Who sees a group: admins, its members, and those who manage members of a namespace where it holds a role.

For everybody else there is none of that name. So nobody finds out who is in a group by giving it a
role: whoever gives it one sees it already.
"""

import sqlalchemy as sa

from deltareg.db.access import groups as queries
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.registry import Caller


def sees_group(conn: sa.Connection, caller: Caller, group_id: int) -> bool:
    """Whether a caller sees a group."""
    if caller.may(Right.ADMIN, on=EVERYTHING) or queries.is_member(conn, group_id, caller.principal_id):
        return True
    return any(_manages(caller, name) for _, name in queries.namespaces_of(conn, group_id))


def groups_in_sight(conn: sa.Connection, caller: Caller) -> list[int] | None:
    """Return the ids of the groups that a caller sees; None for all."""
    if caller.may(Right.ADMIN, on=EVERYTHING):
        return None
    own = {row.id for row in queries.groups_of(conn, caller.principal_id)}
    return sorted(own | {each for each, name in queries.namespaces_of(conn) if _manages(caller, name)})


def _manages(caller: Caller, namespace: str) -> bool:
    return caller.may(Right.MAINTAIN, on=Namespace(namespace))
