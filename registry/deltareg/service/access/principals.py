"""Principals by name: a name is one principal's, and a person, a service, a worker or a group it stays.

What is made for a service must not reach a person of that name, nor the other way round: whoever signs
in chooses a name at the provider, and would choose the rights of a service with it.
"""

import sqlalchemy as sa

from deltareg.db.access import principals as queries
from deltareg.errors import Conflict
from deltareg.refs import parse_name


def find_or_add_principal(conn: sa.Connection, name: str, *, kind: str, fix: str = "") -> int:
    """Return the id of the principal of a name, which is added if nobody has it.

    Args:
        conn: A transaction that runs again where another one takes the name meanwhile (`with_retry`).
        name: The name.
        kind: The kind that it has to have.
        fix: What to do where it has another one; to choose another name if empty.

    Raises:
        Conflict: A principal of another kind has the name.
        InvalidInput: It is no name.
    """
    row = queries.principal_row(conn, parse_name(name, "principal"))
    if row is None:
        return queries.add_principal(conn, name, kind=kind)
    check_kind(name, row.kind, wanted=kind, fix=fix)
    return row.id


def check_kind(name: str, kind: str, *, wanted: str, fix: str = "") -> None:
    """Refuse to take a principal for one of another kind.

    Raises:
        Conflict: It is of another kind.
    """
    if kind != wanted:
        raise Conflict(f"{name} is a {kind}, and no {wanted}", fix=fix or "choose another name")
