"""What versions are found by, written beside them and read by index alone.

A search takes the rarest of its conditions as the list to walk, newest first, and looks the others
up version by version. How rare they are is counted up to a bound, so no search counts all there is.
Where the rarest is common and in no order of versions, all versions are the list.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.lines.search_rows import MetricRow, UnreadRow
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.tables import cards, deltas, namespaces, search_terms, verdicts, version_metrics, versions
from deltareg.db.verdicts.signing import is_for_all

CARD: Final = "card"
"""The source of what a card claims; all others are suites, no suite has the name."""
LABEL: Final = "label"
"""The source of what labels claim; no suite has this name either."""
_COUNTED = 2_000
_AFTER_ALL = "\U0010ffff"
Operator = Literal[">=", "<=", ">", "<", "="]


@dataclass(frozen=True, slots=True)
class MetricBound:
    """What a number by name is to be."""

    name: str
    operator: Operator
    value: float

    def holds(self, column: sa.ColumnElement[float]) -> sa.ColumnElement[bool]:
        """Say of values whether they are so."""
        match self.operator:
            case ">=":
                return column >= self.value
            case "<=":
                return column <= self.value
            case ">":
                return column > self.value
            case "<":
                return column < self.value
            case "=":
                return column == self.value


@dataclass(frozen=True, slots=True)
class SearchConditions:
    """What is looked for; all of it has to be so.

    Attributes:
        terms: Terms that a version has.
        beginnings: Beginnings of terms, of each of which it has one.
        bounds: What its metrics are.
        is_newest: Whether only the newest version of each line counts.
        sight: Whose versions are shown; None for all.
    """

    terms: Sequence[str] = ()
    beginnings: Sequence[str] = ()
    bounds: Sequence[MetricBound] = ()
    is_newest: bool = False
    sight: VisibleLines | None = None


def change_terms(conn: sa.Connection, version_id: int, *, add: Iterable[str], drop: Collection[str] = ()) -> None:
    """Let a version be found by some terms, and by others no more."""
    for part in batches(sorted(drop)):
        gone = sa.delete(search_terms).where(search_terms.c.term.in_(part), search_terms.c.version_id == version_id)
        conn.execute(gone)
    rows = [{"term": term, "version_id": version_id} for term in sorted(add)]
    if rows:
        conn.execute(insert(conn, search_terms).on_conflict_do_nothing(), rows)


def put_card(conn: sa.Connection, version_id: int, document: bytes | None) -> None:
    """Keep what the card of a version says; None where it has none. What is kept stays."""
    put = insert(conn, cards).values(version_id=version_id, document=document)
    conn.execute(put.on_conflict_do_nothing())


def card_of(conn: sa.Connection, version_id: int) -> bytes | None:
    """Give what the card of a version says; None where it has none, or was not read yet."""
    query = sa.select(cards.c.document).where(cards.c.version_id == version_id)
    found: bytes | None = conn.execute(query).scalar()
    return found


def cards_of(conn: sa.Connection, version_ids: Collection[int]) -> dict[int, bytes]:
    """Give what the cards of versions say, by version."""
    query = sa.select(cards.c.version_id, cards.c.document).where(
        cards.c.version_id.in_(version_ids), cards.c.document.is_not(None)
    )
    return {row.version_id: row.document for row in conn.execute(query)}


def is_read(conn: sa.Connection, version_id: int) -> bool:
    """Whether the card of a version was read, if it has one."""
    query = sa.select(cards.c.version_id).where(cards.c.version_id == version_id)
    return conn.execute(query).first() is not None


def unread(conn: sa.Connection, *, limit: int) -> Sequence[UnreadRow]:
    """List versions that were not read yet, in their order, those that have their bytes."""
    query = (
        sa.select(versions.c.id, namespaces.c.name.label("namespace"))
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .outerjoin(cards, cards.c.version_id == versions.c.id)
        .where(versions.c.released_at.is_(None), cards.c.version_id.is_(None))
        .order_by(versions.c.id)
        .limit(limit)
    )
    return fetch_all(conn, query, UnreadRow)


def replace_metrics(conn: sa.Connection, version_id: int, source: str, found: Mapping[str, float]) -> None:
    """Say what a source found of a version, in the place of what it found before."""
    of_source = sa.and_(version_metrics.c.version_id == version_id, version_metrics.c.source == source)
    conn.execute(sa.delete(version_metrics).where(of_source))
    rows = [
        {"name": name, "version_id": version_id, "source": source, "value": value}
        for name, value in sorted(found.items())
    ]
    if rows:
        conn.execute(sa.insert(version_metrics), rows)


def metrics_of(conn: sa.Connection, version_ids: Collection[int], names: Collection[str]) -> Sequence[MetricRow]:
    """Give the metrics of versions by some names."""
    query = (
        sa.select(
            version_metrics.c.version_id, version_metrics.c.name, version_metrics.c.source, version_metrics.c.value
        )
        .where(version_metrics.c.version_id.in_(version_ids), version_metrics.c.name.in_(names))
        .order_by(version_metrics.c.version_id, version_metrics.c.name, version_metrics.c.source)
    )
    return fetch_all(conn, query, MetricRow)


def newest_checks(conn: sa.Connection, version_id: int) -> dict[str, list[dict[str, object]]]:
    """Give the checks of the newest verdict of each suite that judged a version on its base."""
    query = (
        sa.select(verdicts.c.suite, verdicts.c.checks)
        .join(versions, versions.c.id == verdicts.c.version_id)
        .where(
            is_for_all(),
            verdicts.c.version_id == version_id,
            verdicts.c.base_root == versions.c.base_root,
            verdicts.c.verdict != "inconclusive",
        )
        .order_by(verdicts.c.created_at, verdicts.c.id)
    )
    return {row.suite: row.checks for row in conn.execute(query)}


def found_ids(conn: sa.Connection, sought: SearchConditions, *, before: int | None, limit: int) -> Sequence[int]:
    """Give the rows of the versions that are looked for, newest first."""
    ranked = sorted(
        ((_count(conn, each), each.is_many, at, each) for at, each in enumerate(_conditions(sought))),
        key=lambda one: one[:3],
    )
    conditions = [each for *_, each in ranked]
    column: sa.ColumnElement[int] = versions.c.id
    query = sa.select(column)
    # What is common and in another order is not walked: that would gather and sort all of it.
    if ranked and not (ranked[0][1] and ranked[0][0] >= _COUNTED):
        first, *conditions = conditions
        column = first.table.c.version_id
        query = sa.select(column).where(first.of(first.table))
        query = query.distinct() if first.is_many else query
    for other in conditions:
        beside = other.table.alias()
        query = query.where(sa.exists().where(beside.c.version_id == column, other.beside(beside)))
    if before is not None:
        query = query.where(column < before)
    query = query.where(_is_shown(sought, column)).order_by(column.desc()).limit(limit)
    return [int(row_id) for row_id in conn.execute(query).scalars()]


@dataclass(frozen=True, slots=True)
class _Condition:
    """A condition on rows of a table that names versions.

    Attributes:
        table: The table.
        of: Says it of rows of the table, or of an alias.
        is_many: Whether a version may have several such rows, which lie in another order.
        beside: The same, of the rows of one version.
    """

    table: sa.Table
    of: Callable[[sa.FromClause], sa.ColumnElement[bool]]
    is_many: bool
    beside: Callable[[sa.FromClause], sa.ColumnElement[bool]]


def _conditions(sought: SearchConditions) -> Iterator[_Condition]:
    for term in sought.terms:
        is_term = partial(_is_term, term)
        yield _Condition(search_terms, is_term, is_many=False, beside=is_term)
    for beginning in sought.beginnings:
        begins = partial(_begins, beginning)
        yield _Condition(search_terms, begins, is_many=True, beside=begins)
    for bound in sought.bounds:
        yield _Condition(
            version_metrics, partial(_is_bound, bound), is_many=True, beside=partial(_is_bound_beside, bound)
        )


def _is_term(term: str, rows: sa.FromClause) -> sa.ColumnElement[bool]:
    return rows.c.term == term


def _begins(beginning: str, rows: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(rows.c.term >= beginning, rows.c.term < beginning + _AFTER_ALL)


def _is_bound(bound: MetricBound, rows: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(rows.c.name == bound.name, bound.holds(rows.c.value))


def _is_bound_beside(bound: MetricBound, rows: sa.FromClause) -> sa.ColumnElement[bool]:
    """Say it of one version's metrics: as a sum, lest SQLite walks all values that are so."""
    return sa.and_(rows.c.name == bound.name, bound.holds(rows.c.value + 0.0))


def _count(conn: sa.Connection, condition: _Condition) -> int:
    some = sa.select(sa.literal(1)).where(condition.of(condition.table)).limit(_COUNTED)
    counted = sa.select(sa.func.count()).select_from(some.subquery())
    return int(conn.execute(counted).scalar_one())


def _is_shown(sought: SearchConditions, column: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    shown = versions.alias("shown")
    query = (
        sa.select(sa.literal(1))
        .select_from(shown)
        .join(deltas, deltas.c.id == shown.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(shown.c.id == column, shown.c.deleted_at.is_(None))
    )
    if sought.is_newest:
        newer = versions.alias("newer")
        query = query.where(
            ~sa.exists().where(
                newer.c.delta_id == shown.c.delta_id, newer.c.number > shown.c.number, newer.c.deleted_at.is_(None)
            )
        )
    return in_sight(query, sought.sight).exists()
