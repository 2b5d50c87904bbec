"""Relatives of versions: their ancestors, what they stand on, and their descendants."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.lines.family_rows import KinRow, ServedRow
from deltareg.db.sql.among import among_found
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.tables import bases, channels, deltas, lineage, namespaces, revisions, version_bases, versions

_Select = sa.Select[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class FamilyOrigin:
    """Where a walk begins: at a version, at the versions of a line or of a base, or everywhere."""

    version_id: int | None = None
    delta_id: int | None = None
    base_id: int | None = None


def family(
    conn: sa.Connection, origin: FamilyOrigin, *, up: int, down: int, sight: VisibleLines | None, limit: int
) -> Sequence[KinRow]:
    """List the origin's versions and their relatives within some steps up and down, newest first.

    A step leads from a version to its parents and to the version that its base is. Versions that a
    step reaches may be deleted. If there are more than the limit, the origin's versions come first,
    the newest visible ones.
    """
    begins = _select_origins(origin, sight, limit)
    origins = begins.cte("begun")
    walks = [sa.select(origins.c.id)]
    # From everything there is nowhere to go, and beside that much nothing else would be listed.
    if origin != FamilyOrigin() and _count(conn, begins) < limit:
        walks += [_walk(origins, up, "above", is_up=True), _walk(origins, down, "below", is_up=False)]
    reached = sa.union(*walks).subquery("reached")
    is_reached = among_found(versions.c.id, sa.select(reached.c.id).scalar_subquery())
    is_begun = versions.c.id.in_(sa.select(origins.c.id))
    query = _kin().where(is_reached).order_by(sa.case((is_begun, 0), else_=1), versions.c.id.desc()).limit(limit)
    return fetch_all(conn, in_sight(query, sight), KinRow)


def common_ancestor(conn: sa.Connection, version_ids: Sequence[int]) -> KinRow | None:
    """Return the newest common ancestor of some versions, which may be one of them.

    A version is newer than its parents, so no other common ancestor was made from it.
    """
    walk = (
        sa.select(versions.c.id.label("origin"), versions.c.id)
        .where(versions.c.id.in_(version_ids))
        .cte("above", recursive=True)
    )
    step = sa.select(walk.c.origin, lineage.c.parent_version_id).join(walk, lineage.c.version_id == walk.c.id)
    walk = walk.union(step)
    common = (
        sa.select(walk.c.id)
        .group_by(walk.c.id)
        .having(sa.func.count() == len(set(version_ids)))
        .order_by(walk.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return fetch_one(conn, _kin().where(versions.c.id == common), KinRow)


def parent_edges(conn: sa.Connection, version_ids: Sequence[int]) -> list[tuple[int, int]]:
    """List (version, parent) pairs for some versions, the parents of each in order."""
    query = (
        sa.select(lineage.c.version_id, lineage.c.parent_version_id)
        .where(lineage.c.version_id.in_(_bind_ids(version_ids)))
        .order_by(lineage.c.version_id, lineage.c.position)
    )
    return [(child, parent) for child, parent in conn.execute(query)]


def serving(conn: sa.Connection, version_ids: Sequence[int]) -> Sequence[ServedRow]:
    """List the channels that serve some versions, in the order of their creation."""
    newest = sa.and_(
        revisions.c.channel_id == channels.c.id,
        revisions.c.number == channels.c.revision,
        channels.c.deleted_at.is_(None),
    )
    query = (
        sa.select(revisions.c.version_id, channels.c.name.label("channel"))
        .join(channels, newest)
        .where(revisions.c.version_id.in_(_bind_ids(version_ids)))
        .order_by(channels.c.id)
    )
    return fetch_all(conn, query, ServedRow)


def _kin() -> _Select:
    return (
        sa.select(
            versions.c.id,
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            versions.c.number,
            versions.c.kind,
            versions.c.manifest_digest,
            versions.c.deleted_at,
            versions.c.revoked_at,
            bases.c.name.label("base_name"),
            version_bases.c.version_id.label("stands_on"),
        )
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .outerjoin(bases, bases.c.id == versions.c.base_id)
        .outerjoin(version_bases, version_bases.c.base_id == versions.c.base_id)
    )


def _select_origins(origin: FamilyOrigin, sight: VisibleLines | None, limit: int) -> _Select:
    query = sa.select(versions.c.id)
    if origin.version_id is not None:
        return query.where(versions.c.id == origin.version_id)
    if sight is not None:
        of_lines = query.join(deltas, deltas.c.id == versions.c.delta_id)
        query = in_sight(of_lines.join(namespaces, namespaces.c.id == deltas.c.namespace_id), sight)
    if origin.delta_id is not None:
        query = query.where(versions.c.delta_id == origin.delta_id)
    if origin.base_id is not None:
        query = query.where(versions.c.base_id == origin.base_id)
    return query.where(versions.c.deleted_at.is_(None)).order_by(versions.c.id.desc()).limit(limit)


def _count(conn: sa.Connection, query: _Select) -> int:
    return conn.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one()


def _walk(begun: sa.CTE, steps: int, name: str, *, is_up: bool) -> _Select:
    """Walk to parents or to children, but never back to the origin.

    A recursive query may refer to itself only once, and there are two kinds of steps; so each row
    is taken twice, once for each kind.
    """
    walk = sa.select(begun.c.id, sa.literal(0).label("step")).cte(name, recursive=True)
    either = sa.union_all(sa.select(sa.literal(0).label("kind")), sa.select(sa.literal(1).label("kind"))).subquery(
        f"{name}_either"
    )
    is_parent, is_base = either.c.kind == 0, either.c.kind == 1
    edge, own, base = lineage.alias(), versions.alias(), version_bases.alias()
    if is_up:
        reached = sa.func.coalesce(edge.c.parent_version_id, base.c.version_id)
        joined = (
            walk.join(either, sa.true())
            .outerjoin(edge, sa.and_(is_parent, edge.c.version_id == walk.c.id))
            .outerjoin(own, sa.and_(is_base, own.c.id == walk.c.id))
            .outerjoin(base, base.c.base_id == own.c.base_id)
        )
    else:
        reached = sa.func.coalesce(edge.c.version_id, own.c.id)
        joined = (
            walk.join(either, sa.true())
            .outerjoin(edge, sa.and_(is_parent, edge.c.parent_version_id == walk.c.id))
            .outerjoin(base, sa.and_(is_base, base.c.version_id == walk.c.id))
            .outerjoin(own, own.c.base_id == base.c.base_id)
        )
    step = (
        sa.select(reached, walk.c.step + 1)
        .select_from(joined)
        .where(walk.c.step < steps, reached.is_not(None), reached.not_in(sa.select(begun.c.id)))
    )
    walk = walk.union(step)
    return sa.select(walk.c.id)


def _bind_ids(ids: Iterable[int]) -> sa.BindParameter[list[int]]:
    """Bind row ids as literals, as there may be more than a statement may have parameters."""
    return sa.bindparam(None, list(ids), expanding=True, literal_execute=True)
