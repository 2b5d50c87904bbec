"""Namespaces and delta lines."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from deltareg.db.rows import Row
from deltareg.db.tables import deltas, namespaces, versions


def namespace_id(conn: sa.Connection, name: str) -> int | None:
    """Give the id of a namespace, None when there is none."""
    return conn.execute(sa.select(namespaces.c.id).where(namespaces.c.name == name)).scalar()


def add_namespace(conn: sa.Connection, name: str, *, created_by: int) -> int:
    """Insert a namespace and give its id; joins one that was made meanwhile."""
    try:
        with conn.begin_nested():
            conn.execute(sa.insert(namespaces).values(name=name, created_by=created_by))
    except IntegrityError:
        pass  # somebody else was first, which is as good
    query = sa.select(namespaces.c.id).where(namespaces.c.name == name)
    return int(conn.execute(query).scalar_one())


def delta_row(conn: sa.Connection, namespace: str, name: str, *, lock: bool = False) -> Row | None:
    """Find a line; with `lock`, nobody else counts its versions until the transaction ends."""
    query = (
        sa.select(deltas)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(namespaces.c.name == namespace, deltas.c.name == name)
    )
    if lock:
        query = query.with_for_update(of=deltas)
    return conn.execute(query).one_or_none()


def add_delta(conn: sa.Connection, namespace_id: int, name: str, *, created_by: int) -> None:
    """Insert a line; one that was made meanwhile is as good."""
    try:
        with conn.begin_nested():
            conn.execute(
                sa.insert(deltas).values(
                    namespace_id=namespace_id, name=name, created_by=created_by
                )
            )
    except IntegrityError:
        return


def take_number(conn: sa.Connection, delta_id: int) -> int:
    """Take the next version number of a line; a number is never given out twice."""
    update = (
        sa.update(deltas)
        .where(deltas.c.id == delta_id)
        .values(next_version=deltas.c.next_version + 1)
        .returning(deltas.c.next_version)
    )
    return int(conn.execute(update).scalar_one()) - 1


def line_rows(
    conn: sa.Connection, *, namespace: str | None, after: str | None, limit: int
) -> Sequence[Row]:
    """List lines by name with their count of versions and the newest number."""
    path = namespaces.c.name + "/" + deltas.c.name
    query = (
        sa.select(
            deltas.c.id, deltas.c.created_at, path.label("path"),
            sa.func.count(versions.c.id).label("versions"),
            sa.func.max(versions.c.id).label("newest_id"),
        )
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .outerjoin(
            versions, sa.and_(versions.c.delta_id == deltas.c.id, versions.c.deleted_at.is_(None))
        )
        .group_by(deltas.c.id, deltas.c.created_at, path)
        .order_by(path)
        .limit(limit)
    )  # fmt: skip
    if namespace is not None:
        query = query.where(namespaces.c.name == namespace)
    if after is not None:
        query = query.where(path > after)
    return conn.execute(query).all()
