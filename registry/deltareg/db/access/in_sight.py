"""What a list hides from its caller, as a condition on the namespaces and lines of its rows.

The condition is part of the list's query. So a page is always full and its cursor never names a
hidden row, however little of a large registry the caller may see.
"""

from typing import Any

import sqlalchemy as sa

from deltareg.db.access.sight import VisibleLines
from deltareg.db.tables import deltas, namespaces

_ESCAPE = "\\"


def in_sight(query: sa.Select[*tuple[Any, ...]], sight: VisibleLines | None) -> sa.Select[*tuple[Any, ...]]:
    """Leave out rows whose line the caller may not see; with None, everything is shown.

    The query has joined `namespaces` and `deltas`. A row that belongs to no line is left out.
    """
    if sight is None:
        return query
    return query.where(sa.or_(sa.false(), *_conditions(sight)))


def seen_names(
    sight: VisibleLines, namespace: sa.ColumnElement[Any], line: sa.ColumnElement[Any]
) -> sa.ColumnElement[bool]:
    """Return a condition on a namespace's and a line's name: whether the caller may see the row.

    Everybody may see a row without a namespace. A row with a namespace but no line is visible to
    whoever may see all of the namespace.
    """
    visible = sa.select(namespaces.c.name).where(namespaces.c.visibility.in_(sight.visibilities))
    return sa.or_(
        namespace.is_(None),
        namespace.in_(visible),
        namespace.in_(sight.namespaces),
        *(sa.and_(namespace == name, line.like(_like(lines), escape=_ESCAPE)) for name, lines in sight.lines),
    )


def _conditions(sight: VisibleLines) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if sight.visibilities:
        conditions.append(namespaces.c.visibility.in_(sight.visibilities))
    if sight.namespaces:
        conditions.append(namespaces.c.name.in_(sight.namespaces))
    conditions += [
        sa.and_(namespaces.c.name == name, deltas.c.name.like(_like(lines), escape=_ESCAPE))
        for name, lines in sight.lines
    ]
    return conditions


def _like(pattern: str) -> str:
    """Translate a pattern to LIKE; names are lower case, so SQLite's case folding does no harm."""
    for character in (_ESCAPE, "%", "_"):
        pattern = pattern.replace(character, _ESCAPE + character)
    return pattern.replace("*", "%")
