"""Versions as bases of others: the base that a version is, and the versions above and below it."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.bases.base_identities import is_deleted
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.lines.versions import select_versions
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.sql.upsert import batches
from deltareg.db.tables import base_packs, bases, version_bases, versions

_MOST = 16


def record_version_base(
    conn: sa.Connection, base_id: int, *, version_id: int, bottom_id: int, depth: int, recipe: str
) -> None:
    """Record that a base is the result of folding a version."""
    conn.execute(
        sa.insert(version_bases).values(
            base_id=base_id, version_id=version_id, bottom_id=bottom_id, depth=depth, recipe=recipe
        )
    )


def stack_below(conn: sa.Connection, base_id: int) -> list[VersionRow]:
    """List the versions that a base is made of, the topmost first; empty for a plain base."""
    stack: list[VersionRow] = []
    below: int | None = base_id
    while below is not None and len(stack) < _MOST:
        row = _THAT_IS.one(conn, base_id=below)
        if row is None:
            break
        stack.append(row)
        below = row.base_id
    return stack


def bases_that_are(conn: sa.Connection, version_id: int) -> list[int]:
    """Return the id of the base that a version is, as a list of one, or an empty one."""
    query = sa.select(version_bases.c.base_id).where(version_bases.c.version_id == version_id)
    return list(conn.execute(query).scalars())


def stacked_on(conn: sa.Connection, version_id: int) -> Sequence[VersionRow]:
    """List the versions whose base is a version, oldest first."""
    query = (
        select_versions()
        .join(version_bases, version_bases.c.base_id == versions.c.base_id)
        .where(version_bases.c.version_id == version_id, versions.c.deleted_at.is_(None))
        .order_by(versions.c.id)
    )
    return fetch_all(conn, query, VersionRow)


def holding_stacked(conn: sa.Connection, version_ids: Iterable[int]) -> dict[int, list[int]]:
    """Return, for each version, the versions that stand on it and still hold their packs."""
    stacked: dict[int, list[int]] = {}
    for part in batches(sorted(set(version_ids))):
        query = (
            sa.select(version_bases.c.version_id, versions.c.id)
            .join(versions, versions.c.base_id == version_bases.c.base_id)
            .where(version_bases.c.version_id.in_(part), versions.c.released_at.is_(None))
        )
        for below, above in conn.execute(query):
            stacked.setdefault(below, []).append(above)
    return stacked


def release_base(conn: sa.Connection, version_id: int) -> None:
    """Release the packs that a version needed as a base."""
    own = sa.select(version_bases.c.base_id).where(version_bases.c.version_id == version_id)
    conn.execute(sa.delete(base_packs).where(base_packs.c.base_id.in_(own)))


def is_standing() -> sa.ColumnElement[bool]:
    """Whether a base exists: neither it nor the version that it is was deleted."""
    deleted: sa.Select[*tuple[Any, ...]] = (
        sa.select(version_bases.c.base_id)
        .join(versions, versions.c.id == version_bases.c.version_id)
        .where(version_bases.c.base_id == bases.c.id, versions.c.deleted_at.is_not(None))
    )
    return sa.and_(~sa.exists(deleted), ~is_deleted())


_THAT_IS: Final = PreparedQuery(
    select_versions()
    .join(version_bases, version_bases.c.version_id == versions.c.id)
    .where(version_bases.c.base_id == sa.bindparam("base_id")),
    VersionRow,
)
