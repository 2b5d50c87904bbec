"""The terms, cards and metrics by which versions are found, stored beside them and read by index.

A search walks the rows of its rarest condition, newest first, and checks the other conditions
version by version. Rarity is counted up to a bound, so no search counts everything. If the rarest
condition is common and its rows are in no order of versions, the search walks all versions.
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
    """A condition on a metric's value."""

    name: str
    operator: Operator
    value: float

    def holds(self, column: sa.ColumnElement[float]) -> sa.ColumnElement[bool]:
        """Return the condition on a column of values."""
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
    """The conditions of a search; all of them have to be met.

    Attributes:
        terms: Terms that a version has.
        beginnings: Prefixes; for each a version has a term that begins with it.
        bounds: Conditions on its metrics.
        is_newest: Whether only the newest version of each line counts.
        sight: The versions that the caller may see; None for all.
    """

    terms: Sequence[str] = ()
    beginnings: Sequence[str] = ()
    bounds: Sequence[MetricBound] = ()
    is_newest: bool = False
    sight: VisibleLines | None = None


def change_terms(conn: sa.Connection, version_id: int, *, add: Iterable[str], drop: Collection[str] = ()) -> None:
    """Add and drop the terms that a version is found by."""
    for part in batches(sorted(drop)):
        delete = sa.delete(search_terms).where(search_terms.c.term.in_(part), search_terms.c.version_id == version_id)
        conn.execute(delete)
    rows = [{"term": term, "version_id": version_id} for term in sorted(add)]
    if rows:
        conn.execute(insert(conn, search_terms).on_conflict_do_nothing(), rows)


def put_card(conn: sa.Connection, version_id: int, document: bytes | None) -> None:
    """Store the card of a version, None if it has none; a stored card stays."""
    added = insert(conn, cards).values(version_id=version_id, document=document)
    conn.execute(added.on_conflict_do_nothing())


def card_of(conn: sa.Connection, version_id: int) -> bytes | None:
    """Return the card of a version; None if it has none or it was not read yet."""
    query = sa.select(cards.c.document).where(cards.c.version_id == version_id)
    document: bytes | None = conn.execute(query).scalar()
    return document


def cards_of(conn: sa.Connection, version_ids: Collection[int]) -> dict[int, bytes]:
    """Return the cards of versions, by version."""
    query = sa.select(cards.c.version_id, cards.c.document).where(
        cards.c.version_id.in_(version_ids), cards.c.document.is_not(None)
    )
    return {row.version_id: row.document for row in conn.execute(query)}


def is_read(conn: sa.Connection, version_id: int) -> bool:
    """Whether the card of a version has been read, even if it turned out to have none."""
    query = sa.select(cards.c.version_id).where(cards.c.version_id == version_id)
    return conn.execute(query).first() is not None


def unread(conn: sa.Connection, *, limit: int) -> Sequence[UnreadRow]:
    """List versions whose cards were not read yet and that still have their bytes, oldest first."""
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
    """Replace the metrics that a source has of a version."""
    of_source = sa.and_(version_metrics.c.version_id == version_id, version_metrics.c.source == source)
    conn.execute(sa.delete(version_metrics).where(of_source))
    rows = [
        {"name": name, "version_id": version_id, "source": source, "value": value}
        for name, value in sorted(found.items())
    ]
    if rows:
        conn.execute(sa.insert(version_metrics), rows)


def metrics_of(conn: sa.Connection, version_ids: Collection[int], names: Collection[str]) -> Sequence[MetricRow]:
    """Return the metrics of versions with the given names."""
    query = (
        sa.select(
            version_metrics.c.version_id, version_metrics.c.name, version_metrics.c.source, version_metrics.c.value
        )
        .where(version_metrics.c.version_id.in_(version_ids), version_metrics.c.name.in_(names))
        .order_by(version_metrics.c.version_id, version_metrics.c.name, version_metrics.c.source)
    )
    return fetch_all(conn, query, MetricRow)


def newest_checks(conn: sa.Connection, version_id: int) -> dict[str, Sequence[dict[str, object]]]:
    """Return the checks of each suite's newest conclusive verdict on a version's own base."""
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
    """Return the row ids of the versions that meet the conditions, newest first."""
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
        others = other.table.alias()
        query = query.where(sa.exists().where(others.c.version_id == column, other.beside(others)))
    if before is not None:
        query = query.where(column < before)
    query = query.where(_is_shown(sought, column)).order_by(column.desc()).limit(limit)
    return [int(row_id) for row_id in conn.execute(query).scalars()]


@dataclass(frozen=True, slots=True)
class _Condition:
    """A condition on the rows of a table that refer to versions.

    Attributes:
        table: The table.
        of: Builds the condition on rows of the table, or of an alias.
        is_many: Whether a version may have several matching rows, in another order than versions.
        beside: Builds the condition on the rows of one version.
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
    """Return the bound on one version's metrics; `+ 0.0` keeps SQLite off the index of values."""
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
