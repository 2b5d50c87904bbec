"""Roles of one's own: sets of rights with a name, for all or of one namespace."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from deltareg.db.access.group_rows import OwnRoleRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import namespaces, principals, roles


def find_role(conn: sa.Connection, name: str, namespace_id: int | None, *, lock: bool = False) -> OwnRoleRow | None:
    """Find the role of a name that may be given in a namespace: its own one, else the one for all.

    With `lock` it is locked until the transaction ends, so that nobody gives what is removed.
    """
    place: sa.ColumnElement[bool] = roles.c.namespace_id.is_(None)
    if namespace_id is not None:
        place = sa.or_(place, roles.c.namespace_id == namespace_id)
    query = _select_roles().where(roles.c.name == name, place)
    if lock:
        query = query.with_for_update(of=roles)
    rows = sorted(fetch_all(conn, query, OwnRoleRow), key=lambda row: row.namespace is None)
    return rows[0] if rows else None


def role_rows(conn: sa.Connection, namespace_id: int | None = None) -> Sequence[OwnRoleRow]:
    """List the roles for all, and with a namespace its own ones, by name."""
    places: list[sa.ColumnElement[bool]] = [roles.c.namespace_id.is_(None)]
    if namespace_id is not None:
        places.append(roles.c.namespace_id == namespace_id)
    return fetch_all(conn, _select_roles().where(sa.or_(*places)), OwnRoleRow)


def roles_named(conn: sa.Connection, name: str) -> Sequence[OwnRoleRow]:
    """List the roles of a name, wherever they are."""
    return fetch_all(conn, _select_roles().where(roles.c.name == name), OwnRoleRow)


def add_role(conn: sa.Connection, name: str, *, namespace_id: int | None, rights: str, created_by: int | None) -> bool:
    """Insert a role; return False if somebody made one of that name there at the same moment."""
    values = {"name": name, "namespace_id": namespace_id, "rights": rights, "created_by": created_by}
    try:
        with conn.begin_nested():
            conn.execute(sa.insert(roles).values(values))
    except IntegrityError:
        return False
    return True


def set_rights(conn: sa.Connection, role_id: int, rights: str) -> None:
    """Change what a role gives, for all who hold it."""
    conn.execute(sa.update(roles).where(roles.c.id == role_id).values(rights=rights))


def end_role(conn: sa.Connection, role_id: int) -> None:
    """End a role; its grants are ended before."""
    conn.execute(sa.update(roles).where(roles.c.id == role_id).values(ended_at=now_us()))


def _select_roles() -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(
            roles.c.id,
            roles.c.name,
            namespaces.c.name.label("namespace"),
            roles.c.rights,
            roles.c.created_at,
            principals.c.name.label("created_by"),
        )
        .outerjoin(namespaces, namespaces.c.id == roles.c.namespace_id)
        .outerjoin(principals, principals.c.id == roles.c.created_by)
        .where(roles.c.ended_at.is_(None))
        .order_by(roles.c.name, roles.c.id)
    )
