"""What a list leaves out for who asks, as a condition on the namespaces and lines of its rows.

The condition is part of the list's query, so that a page is full and its cursor names nothing that
is left out, however little of a large registry somebody sees.
"""

from typing import Any

import sqlalchemy as sa

from deltareg.db.access.sight import VisibleLines
from deltareg.db.tables import deltas, namespaces

_ESCAPE = "\\"


def in_sight(query: sa.Select[*tuple[Any, ...]], sight: VisibleLines | None) -> sa.Select[*tuple[Any, ...]]:
    """Leave rows out whose line is not to be seen; None sees everything.

    The query has joined `namespaces` and `deltas`. A row that is about no line is left out.
    """
    if sight is None:
        return query
    return query.where(sa.or_(sa.false(), *_conditions(sight)))


def seen_names(
    sight: VisibleLines, namespace: sa.ColumnElement[Any], line: sa.ColumnElement[Any]
) -> sa.ColumnElement[bool]:
    """Say of rows with names of a namespace and a line whether they are to be seen.

    What lies in no namespace is everybody's; what is about a namespace and no line of it is seen by
    whoever sees all of the namespace.
    """
    visible = sa.select(namespaces.c.name).where(namespaces.c.visibility.in_(sight.visibilities))
    return sa.or_(
        namespace.is_(None),
        namespace.in_(visible),
        namespace.in_(sight.namespaces),
        *(sa.and_(namespace == name, line.like(_like(lines), escape=_ESCAPE)) for name, lines in sight.lines),
    )


def _conditions(sight: VisibleLines) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if sight.visibilities:
        found.append(namespaces.c.visibility.in_(sight.visibilities))
    if sight.namespaces:
        found.append(namespaces.c.name.in_(sight.namespaces))
    found += [
        sa.and_(namespaces.c.name == name, deltas.c.name.like(_like(lines), escape=_ESCAPE))
        for name, lines in sight.lines
    ]
    return found


def _like(pattern: str) -> str:
    """Write a pattern as SQL has it; names have no capitals, so that it is all one to SQLite."""
    for character in (_ESCAPE, "%", "_"):
        pattern = pattern.replace(character, _ESCAPE + character)
    return pattern.replace("*", "%")
