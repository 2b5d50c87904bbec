"""Versions with the same weights: found by a digest over all tensors, or by marks of some of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import deltas, namespaces, version_weights, versions, weight_marks


@dataclass(frozen=True, slots=True)
class AlikeRow:
    """A version that has weights of another one: its row, line and size of all its tensors."""

    id: int
    delta_id: int
    size_bytes: int


def put_weights(conn: sa.Connection, version_id: int, *, digest: str, size_bytes: int, marks: Collection[int]) -> None:
    """Store by what a version's weights are found; what is stored already stays."""
    row = insert(conn, version_weights).values(version_id=version_id, digest=digest, size_bytes=size_bytes)
    conn.execute(row.on_conflict_do_nothing())
    rows = [{"mark": mark, "version_id": version_id} for mark in sorted(marks)]
    if rows:
        conn.execute(insert(conn, weight_marks).on_conflict_do_nothing(), rows)


def same_weights(
    conn: sa.Connection, digest: str, *, but: int, sight: VisibleLines | None, limit: int
) -> Sequence[AlikeRow]:
    """List versions with the very same tensors, oldest first, of those that the caller may see."""
    query = _select_alike(but, sight).where(version_weights.c.digest == digest)
    return fetch_all(conn, query.order_by(versions.c.id).limit(limit), AlikeRow)


def sharing_marks(
    conn: sa.Connection,
    marks: Collection[int],
    *,
    but: int,
    least: int,
    within: tuple[int, int],
    sight: VisibleLines | None,
    limit: int,
) -> Sequence[AlikeRow]:
    """List versions that share at least some marks, most first, of those that the caller may see.

    Args:
        conn: A transaction.
        marks: The marks to look for.
        but: The version that is left out.
        least: How many of the marks a version has to have.
        within: The smallest and the largest size of all its tensors, bytes.
        sight: What the caller may see; None for all.
        limit: How many to return.
    """
    shared = (
        sa.select(weight_marks.c.version_id, sa.func.count().label("shared"))
        .where(weight_marks.c.mark.in_(sorted(marks)))
        .group_by(weight_marks.c.version_id)
        .having(sa.func.count() >= least)
        .subquery()
    )
    smallest, largest = within
    query = (
        _select_alike(but, sight)
        .join(shared, shared.c.version_id == versions.c.id)
        .where(version_weights.c.size_bytes.between(smallest, largest))
        .order_by(shared.c.shared.desc(), versions.c.id)
    )
    return fetch_all(conn, query.limit(limit), AlikeRow)


def list_unmarked(conn: sa.Connection, *, limit: int) -> Sequence[int]:
    """List the row ids of versions whose weights were not read yet, oldest first."""
    query = (
        sa.select(versions.c.id)
        .outerjoin(version_weights, version_weights.c.version_id == versions.c.id)
        .where(versions.c.released_at.is_(None), version_weights.c.version_id.is_(None))
        .order_by(versions.c.id)
        .limit(limit)
    )
    return conn.execute(query).scalars().all()


def _select_alike(but: int, sight: VisibleLines | None) -> sa.Select[tuple[int, int, int]]:
    query = (
        sa.select(versions.c.id, versions.c.delta_id, version_weights.c.size_bytes)
        .join(version_weights, version_weights.c.version_id == versions.c.id)
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(versions.c.id != but, versions.c.deleted_at.is_(None))
    )
    return in_sight(query, sight)
