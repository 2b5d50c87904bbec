"""Floors: the policies of the server and of namespaces, which apply to every channel."""

from collections.abc import Mapping

import sqlalchemy as sa

from deltareg.db.channels.rows import FloorRow
from deltareg.db.sql.fetch import fetch_one
from deltareg.db.tables import channels, deltas, floors, principals
from deltareg.db.tables.metadata import Json


def floor_row(conn: sa.Connection, namespace_id: int | None) -> FloorRow | None:
    """Find the floor of a namespace, or of the server for None; None if it was never set."""
    query = (
        sa.select(floors, principals.c.name.label("actor"))
        .outerjoin(principals, principals.c.id == floors.c.created_by)
        .where(_of(namespace_id))
        .order_by(floors.c.id.desc())
        .limit(1)
    )
    return fetch_one(conn, query, FloorRow)


def add_floor(
    conn: sa.Connection, namespace_id: int | None, *, policy: Mapping[str, object], reason: str, created_by: int
) -> None:
    """Record the floor of a namespace, or of the server, from now on."""
    conn.execute(
        sa.insert(floors).values(namespace_id=namespace_id, policy=dict(policy), reason=reason, created_by=created_by)
    )


def floor_columns() -> tuple[sa.ColumnElement[object], sa.ColumnElement[object]]:
    """Return the server's and the namespace's floor as columns for a query of `channels`."""
    namespace = (
        sa.select(deltas.c.namespace_id).where(deltas.c.id == channels.c.delta_id).correlate(channels).scalar_subquery()
    )
    return (
        _newest(floors.c.namespace_id.is_(None)).label("server_floor"),
        _newest(floors.c.namespace_id == namespace).label("namespace_floor"),
    )


def _newest(of: sa.ColumnElement[bool]) -> sa.ColumnElement[object]:
    newest = sa.select(floors.c.policy).where(of).order_by(floors.c.id.desc()).limit(1)
    return sa.type_coerce(newest.correlate(channels).scalar_subquery(), Json)


def _of(namespace_id: int | None) -> sa.ColumnElement[bool]:
    if namespace_id is None:
        return floors.c.namespace_id.is_(None)
    return floors.c.namespace_id == namespace_id
