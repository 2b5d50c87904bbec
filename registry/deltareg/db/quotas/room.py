"""What would free room: the largest lines of a namespace, its open uploads, what waits for collection."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.quotas.rows import LargeLineRow, OpenUploadRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import deltas, namespaces, principals, revisions, upload_packs, uploads, versions


def large_lines(
    conn: sa.Connection, *, namespace: str | None = None, created_by: Sequence[int] | None = None, by: str, limit: int
) -> Sequence[LargeLineRow]:
    """List the lines that hold most, and how much of it no channel ever served.

    Args:
        conn: A transaction.
        namespace: The lines of this namespace.
        created_by: Only versions that these principals pushed.
        by: What counts: `bytes`, or `versions`.
        limit: How many lines at most.
    """
    is_idle = ~sa.exists().where(revisions.c.version_id == versions.c.id)
    stored = sa.func.coalesce(sa.func.sum(versions.c.stored_bytes), 0)
    idle_bytes = sa.func.coalesce(sa.func.sum(sa.case((is_idle, versions.c.stored_bytes), else_=0)), 0)
    query = (
        sa.select(
            (namespaces.c.name + "/" + deltas.c.name).label("name"),
            sa.func.count().label("versions"),
            sa.cast(stored, sa.BigInteger).label("stored_bytes"),
            sa.cast(sa.func.sum(sa.case((is_idle, 1), else_=0)), sa.BigInteger).label("idle"),
            sa.cast(idle_bytes, sa.BigInteger).label("idle_bytes"),
        )
        .select_from(versions)
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(versions.c.deleted_at.is_(None))
        .group_by(namespaces.c.name, deltas.c.name)
    )
    if namespace is not None:
        query = query.where(namespaces.c.name == namespace)
    if created_by is not None:
        query = query.where(versions.c.created_by.in_(created_by))
    first = stored if by == "bytes" else sa.func.count()
    return fetch_all(conn, query.order_by(first.desc()).limit(limit), LargeLineRow)


def open_uploads(
    conn: sa.Connection, *, scope: str | None = None, sent_by: Sequence[int] | None = None, limit: int
) -> Sequence[OpenUploadRow]:
    """List open uploads of a scope, or of some principals, those that rest longest first."""
    sent = (
        sa.select(sa.cast(sa.func.coalesce(sa.func.sum(upload_packs.c.size_bytes), 0), sa.BigInteger))
        .where(upload_packs.c.upload_id == uploads.c.id, upload_packs.c.state.in_(["writing", "received"]))
        .correlate(uploads)
        .scalar_subquery()
    )
    query = (
        sa.select(
            uploads.c.id,
            uploads.c.target,
            principals.c.name.label("principal"),
            sent.label("size_bytes"),
            uploads.c.touched_at,
        )
        .join(principals, principals.c.id == uploads.c.principal_id)
        .where(uploads.c.state == "open")
        .order_by(uploads.c.touched_at)
        .limit(limit)
    )
    if scope is not None:
        query = query.where(uploads.c.scope == scope)
    if sent_by is not None:
        query = query.where(uploads.c.principal_id.in_(sent_by))
    return fetch_all(conn, query, OpenUploadRow)


def deleted_bytes(conn: sa.Connection, namespace: str) -> int:
    """Sum what deleted versions of a namespace store until they are collected."""
    query = (
        sa.select(sa.func.coalesce(sa.func.sum(versions.c.stored_bytes), 0))
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(namespaces.c.name == namespace, versions.c.deleted_at.is_not(None), versions.c.released_at.is_(None))
    )
    return int(conn.execute(query).scalar_one())
