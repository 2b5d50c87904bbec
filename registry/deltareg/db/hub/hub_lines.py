"""Lines as clients of the Hugging Face Hub list them: by name, or by what is newest.

Each list walks an index from where the last page ended: the names in their order, the versions from
the newest, or the lines from the newest. What a caller may not see is left out by the query itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.hub.rows import ListedRepositoryRow, NamedVersionRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import deltas, namespaces, search_terms, versions

RepositoryOrder = Literal["name", "created", "modified"]


@dataclass(frozen=True, slots=True)
class RepositoryFilter:
    """Which lines to list.

    Attributes:
        sight: The lines that the caller may see; None for all.
        namespace: The namespace that they are in; empty for any.
        parts: What is in their names, `ns/name`, in lower case.
        terms: Search terms that the newest version has: one of each group.
    """

    sight: VisibleLines | None
    namespace: str = ""
    parts: Sequence[str] = ()
    terms: Sequence[Sequence[str]] = ()


def named_versions(conn: sa.Connection, delta_id: int, *, limit: int) -> Sequence[NamedVersionRow]:
    """List what names the versions of a line, newest first; deleted ones are left out."""
    query = (
        sa.select(*(versions.c[field.name] for field in fields(NamedVersionRow)))
        .where(versions.c.delta_id == delta_id, versions.c.deleted_at.is_(None))
        .order_by(versions.c.number.desc())
        .limit(limit)
    )
    return fetch_all(conn, query, NamedVersionRow)


def repositories_by_name(
    conn: sa.Connection, only: RepositoryFilter, *, after: str | None, limit: int
) -> Sequence[ListedRepositoryRow]:
    """List lines that have a version, by namespace and name; `after` is a line, `ns/name`."""
    namespace, name = namespaces.c.name, deltas.c.name
    query = (
        _select(_newest_id())
        .select_from(deltas)
        # As a value and not as the column, so that SQLite begins with the namespaces.
        .join(namespaces, deltas.c.namespace_id == sa.func.coalesce(namespaces.c.id, 0))
        .where(_newest_id().is_not(None))
        .order_by(namespace, name)
        .limit(limit)
    )
    if after is not None:
        last, _, last_name = after.partition("/")
        is_further = sa.or_(namespace > last, sa.and_(namespace == last, name > last_name))
        query = query.where(namespace >= last, is_further)
    return fetch_all(conn, _filter(query, only, _newest_id()), ListedRepositoryRow)


def repositories_by_creation(
    conn: sa.Connection, only: RepositoryFilter, *, before: int | None, limit: int
) -> Sequence[ListedRepositoryRow]:
    """List lines that have a version, the newest line first; `before` is the row id of a line."""
    query = (
        _select(_newest_id())
        .select_from(deltas)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(_newest_id().is_not(None))
        .order_by(deltas.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(deltas.c.id < before)
    return fetch_all(conn, _filter(query, only, _newest_id()), ListedRepositoryRow)


def repositories_by_change(
    conn: sa.Connection, only: RepositoryFilter, *, before: int | None, limit: int
) -> Sequence[ListedRepositoryRow]:
    """List lines by their newest version, the newest first; `before` is the row id of a version."""
    newer = versions.alias("newer")
    is_replaced = sa.exists().where(
        newer.c.delta_id == versions.c.delta_id, newer.c.number > versions.c.number, newer.c.deleted_at.is_(None)
    )
    query = (
        _select(versions.c.id)
        .select_from(versions)
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(versions.c.deleted_at.is_(None), ~is_replaced)
        .order_by(versions.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(versions.c.id < before)
    return fetch_all(conn, _filter(query, only, versions.c.id), ListedRepositoryRow)


def _select(newest_id: sa.ColumnElement[Any]) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(
        deltas.c.id,
        namespaces.c.name.label("namespace"),
        deltas.c.name,
        namespaces.c.visibility,
        deltas.c.created_at,
        newest_id.label("newest_id"),
    )


def _newest_id() -> sa.ScalarSelect[int]:
    """Return the row id of a line's newest version, by the index of its numbers."""
    live = versions.alias("live")
    return (
        sa.select(live.c.id)
        .where(live.c.delta_id == deltas.c.id, live.c.deleted_at.is_(None))
        .order_by(live.c.number.desc())
        .limit(1)
        .correlate(deltas)
        .scalar_subquery()
    )


def _filter(
    query: sa.Select[*tuple[Any, ...]], only: RepositoryFilter, newest_id: sa.ColumnElement[Any]
) -> sa.Select[*tuple[Any, ...]]:
    query = in_sight(query, only.sight)
    if only.namespace:
        query = query.where(namespaces.c.name == only.namespace)
    name = namespaces.c.name + "/" + deltas.c.name
    for part in only.parts:
        query = query.where(name.contains(part, autoescape=True))
    for group in only.terms:
        has_term = sa.exists().where(search_terms.c.term.in_(group), search_terms.c.version_id == newest_id)
        query = query.where(has_term)
    return query
