"""Several queries in one statement, so that related facts cost one round trip.

Each query is a part, and each of its rows is returned as a JSON array, which both databases can
build from columns of any type that is stored here as text, number or JSON. So parts with different
columns fit into one UNION ALL. The statement is compiled once, like those of `prepared`; all parts
see the same moment.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.sql import operators

from deltareg.db.sql.fetch import check_columns
from deltareg.db.sql.prepared import PreparedStatement, Value, conversion

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")
_Query = sa.Select[*tuple[Any, ...]]
_NOT_IN_JSON = (sa.LargeBinary, sa.Numeric, sa.Float)
_KEY = "order_of_part_"
_ARRAYS = {"sqlite": "json_array", "postgresql": "json_build_array"}


class QueryPart(Generic[R]):
    """One query of several, and the class of its rows."""

    def __init__(
        self,
        query: _Query,
        row: type[R],
        *,
        order: Sequence[sa.ColumnElement[Any]] = (),
        limit: int | sa.BindParameter[int] | None = None,
    ) -> None:
        """Describe the part.

        Args:
            query: The query; its variable parts are `bindparam`s with names.
            row: A dataclass whose fields are the query's columns, in any order.
            order: What its rows are ordered by.
            limit: How many rows at most.
        """
        self.query, self.row, self.order, self.limit = query, row, order, limit


class CombinedResult:
    """The rows of all parts of a statement."""

    def __init__(self, rows: Mapping[int, list[Any]]) -> None:
        """Store the rows.

        Args:
            rows: The rows of each part by the part's identity.
        """
        self._rows = rows

    def all(self, part: QueryPart[R]) -> list[R]:
        """Return the rows of a part, in its order."""
        return cast(list[R], self._rows[id(part)])

    def one(self, part: QueryPart[R]) -> R | None:
        """Return the first row of a part, or None."""
        return next(iter(self.all(part)), None)


class CombinedQuery:
    """Parts that one statement fetches; may be shared by threads."""

    def __init__(self, *parts: QueryPart[Any]) -> None:
        """Store the parts; the statement is compiled on first use, as in `PreparedStatement`.

        Args:
            parts: The parts; a parameter of one name has the same value in all of them.

        Raises:
            TypeError: A part's columns are not the fields of its class, or are bytes or fractional
                numbers, which JSON cannot represent exactly.
        """
        self._parts = parts
        self._columns = [_columns_of(part) for part in parts]
        self._statements: dict[str, PreparedStatement] = {}
        self._values: dict[str, list[list[tuple[int, Value]]]] = {}

    def run(self, conn: sa.Connection, **given: object) -> CombinedResult:
        """Run it with the parameters of all parts."""
        name = conn.dialect.name
        statement = self._statements.get(name) or self._prepare(conn.dialect)
        by_part: list[list[tuple[int, Sequence[object]]]] = [[] for _ in self._parts]
        for part, place, encoded in statement.run(conn, given):
            values = json.loads(encoded) if isinstance(encoded, str) else encoded
            by_part[cast(int, part)].append((cast(int, place), cast(Sequence[object], values)))
        rows: dict[int, list[Any]] = {}
        for number, part in enumerate(self._parts):
            make = _maker(part.row, self._columns[number], self._values[name][number])
            ordered = sorted(by_part[number], key=lambda each: each[0])
            rows[id(part)] = [make(values) for _, values in ordered]
        return CombinedResult(rows)

    def _prepare(self, dialect: sa.Dialect) -> PreparedStatement:
        self._values[dialect.name] = [
            [
                (place, convert)
                for place, column in enumerate(part.query.selected_columns)
                if (convert := conversion(column.type, dialect)) is not None
            ]
            for part in self._parts
        ]
        array = _ARRAYS[dialect.name]
        queries = [_number_part(number, part, array) for number, part in enumerate(self._parts)]
        statement = PreparedStatement(sa.select(sa.union_all(*queries).subquery()))
        self._statements[dialect.name] = statement
        return statement


def _number_part(number: int, part: QueryPart[Any], array: str) -> _Query:
    """Build the query that returns a part's number, and each row's place and values."""
    keys = [_key(clause) for clause in part.order]
    labels = [key.label(f"{_KEY}{n}") for n, (key, _) in enumerate(keys)]
    query = part.query.add_columns(*labels)
    if part.limit is not None:  # before places are given, which would read everything
        query = query.order_by(*part.order).limit(part.limit)
    inner = query.subquery()
    by = [inner.c[f"{_KEY}{n}"].desc() if down else inner.c[f"{_KEY}{n}"] for n, (_, down) in enumerate(keys)]
    place = sa.func.row_number().over(order_by=by) if by else sa.literal_column("0", sa.Integer)
    columns = [column for column in inner.c if not column.name.startswith(_KEY)]
    make = getattr(sa.func, array)
    return sa.select(
        sa.literal_column(str(number), sa.Integer).label("part"),
        place.label("place"),
        sa.cast(make(*columns), sa.Text).label("told"),
    )


def _key(clause: sa.ColumnElement[Any]) -> tuple[sa.ColumnElement[Any], bool]:
    """Return the expression that rows are ordered by, and whether the order is descending."""
    if isinstance(clause, sa.UnaryExpression) and clause.modifier is operators.desc_op:
        return clause.element, True
    return clause, False


def _columns_of(part: QueryPart[Any]) -> tuple[str, ...]:
    columns = tuple(part.query.selected_columns.keys())
    check_columns(part.row.__name__, columns, [field.name for field in fields(part.row)])
    for column in part.query.selected_columns:
        if isinstance(column.type, _NOT_IN_JSON):
            raise TypeError(f"{column.type!r} of {part.row.__name__} does not go through JSON")
    return columns


def _maker(
    row: type[R], columns: tuple[str, ...], values: Sequence[tuple[int, Value]]
) -> Callable[[Sequence[object]], R]:
    make: Callable[..., R] = row
    names = [field.name for field in fields(row)]
    places = [columns.index(name) for name in names]

    def build(found: Sequence[object]) -> R:
        changed = list(found)
        for place, convert in values:
            changed[place] = convert(changed[place])
        return make(*(changed[place] for place in places))

    return build
