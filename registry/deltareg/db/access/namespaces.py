"""Namespaces: what is in them, their visibility, and the epoch that counts its changes."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.access.rows import NamespaceRow
from deltareg.db.access.sight import VisibleLines
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.tables import bases, deltas, namespaces, principals, visibility_epochs

EPOCH = sa.select(visibility_epochs.c.number).where(visibility_epochs.c.id == sa.literal_column("1")).scalar_subquery()
"""What the visibility of namespaces stands at, as part of a query."""


def namespace_row(conn: sa.Connection, name: str, *, lock: bool = False) -> NamespaceRow | None:
    """Find a namespace."""
    query = _select().where(namespaces.c.name == name)
    return fetch_one(conn, query.with_for_update(of=namespaces) if lock else query, NamespaceRow)


def namespace_rows(
    conn: sa.Connection, *, sight: VisibleLines | None, after: str | None, limit: int
) -> Sequence[NamespaceRow]:
    """List namespaces by name; one is visible if any of its lines is."""
    query = _select().order_by(namespaces.c.name).limit(limit)
    if sight is not None:
        names = {*sight.namespaces, *(name for name, _ in sight.lines)}
        query = query.where(sa.or_(namespaces.c.visibility.in_(sight.visibilities), namespaces.c.name.in_(names)))
    if after is not None:
        query = query.where(namespaces.c.name > after)
    return fetch_all(conn, query, NamespaceRow)


def find_names(conn: sa.Connection, names: Iterable[str]) -> set[str]:
    """Return those of some names that a namespace has now."""
    return {*conn.execute(sa.select(namespaces.c.name).where(namespaces.c.name.in_(sorted(names)))).scalars()}


def has_others(conn: sa.Connection, namespace_id: int, namespace: str, line: str) -> bool:
    """Whether anything is in a namespace, deleted or not, beside a line of that name: other lines, or bases."""
    others = sa.select(deltas.c.id).where(deltas.c.namespace_id == namespace_id, deltas.c.name != line)
    is_inside = bases.c.name.startswith(f"{namespace}/", autoescape=True)
    is_of_line = bases.c.name.startswith(f"{namespace}/{line}:", autoescape=True)  # a version as a base
    own_bases = sa.select(bases.c.id).where(is_inside, ~is_of_line)
    return any(conn.execute(query.limit(1)).first() is not None for query in (others, own_bases))


def set_visibility(conn: sa.Connection, namespace_id: int, visibility: str) -> None:
    """Set a namespace's visibility and raise the epoch, so that caches of visibility notice."""
    count_up = sa.update(visibility_epochs).values(number=visibility_epochs.c.number + 1)
    conn.execute(count_up)  # first: those who change a visibility take turns by its lock
    conn.execute(sa.update(namespaces).where(namespaces.c.id == namespace_id).values(visibility=visibility))


def lock_epoch(conn: sa.Connection) -> None:
    """Let those who change much about access at once take turns, until their transactions end."""
    conn.execute(sa.select(visibility_epochs.c.number).with_for_update()).all()


def epoch(conn: sa.Connection) -> int | None:
    """Return the visibility epoch."""
    return conn.execute(sa.select(EPOCH)).scalar()


def uncommon(conn: sa.Connection) -> tuple[int | None, list[tuple[str, str]]]:
    """Return, in one statement, the visibility epoch and the namespaces that are not internal."""
    query = sa.select(EPOCH, namespaces.c.name, namespaces.c.visibility).select_from(
        sa.select(sa.literal(1).label("one"))
        .subquery("always")
        .outerjoin(namespaces, namespaces.c.visibility != "internal")
    )
    rows = conn.execute(query).all()
    return rows[0][0], [(row[1], row[2]) for row in rows if row[1] is not None]


def _select() -> sa.Select[*tuple[Any, ...]]:
    lines = (
        sa.select(sa.func.count())
        .select_from(deltas)
        .where(deltas.c.namespace_id == namespaces.c.id, deltas.c.deleted_at.is_(None))
        .correlate(namespaces)
        .scalar_subquery()
    )
    return sa.select(
        namespaces.c.id,
        namespaces.c.name,
        namespaces.c.visibility,
        namespaces.c.created_at,
        principals.c.name.label("created_by"),
        lines.label("lines"),
    ).outerjoin(principals, principals.c.id == namespaces.c.created_by)
