"""Several queries in one statement: what belongs together is one question to the database.

Each query is a part, and a row of it comes as a JSON array, which both databases make of columns of
any type that is kept here as text, number or JSON. So parts with columns of their own stand in one
UNION ALL. The statement is compiled once, as those of `prepared`; all parts see one moment.
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
    """A query among others, and the class of its rows."""

    def __init__(
        self,
        query: _Query,
        row: type[R],
        *,
        order: Sequence[sa.ColumnElement[Any]] = (),
        limit: int | sa.BindParameter[int] | None = None,
    ) -> None:
        """Say what is asked.

        Args:
            query: The query; what varies in it is a `bindparam` with a name.
            row: A dataclass whose fields are the query's columns, in any order.
            order: By what its rows are ordered.
            limit: How many there are at most.
        """
        self.query, self.row, self.order, self.limit = query, row, order, limit


class CombinedResult:
    """What the parts of a statement found."""

    def __init__(self, rows: Mapping[int, list[Any]]) -> None:
        """Keep what was found.

        Args:
            rows: The rows of each part by the part's identity.
        """
        self._rows = rows

    def all(self, part: QueryPart[R]) -> list[R]:
        """Give the rows of a part, in its order."""
        return cast(list[R], self._rows[id(part)])

    def one(self, part: QueryPart[R]) -> R | None:
        """Give the first row of a part, or None."""
        return next(iter(self.all(part)), None)


class CombinedQuery:
    """Parts that are asked for by one statement; may be shared by threads."""

    def __init__(self, *parts: QueryPart[Any]) -> None:
        """Prepare nothing yet, as `Statement`.

        Args:
            parts: The parts; a parameter of one name is the same in all of them.

        Raises:
            TypeError: A part's columns are not the fields of its class, or are of bytes or of
                numbers with a fraction, which JSON does not hold as they are.
        """
        self._parts = parts
        self._columns = [_columns_of(part) for part in parts]
        self._statements: dict[str, PreparedStatement] = {}
        self._values: dict[str, list[list[tuple[int, Value]]]] = {}

    def run(self, conn: sa.Connection, **given: object) -> CombinedResult:
        """Run it with the parameters of all parts."""
        name = conn.dialect.name
        statement = self._statements.get(name) or self._prepare(conn.dialect)
        found: list[list[tuple[int, Sequence[object]]]] = [[] for _ in self._parts]
        for part, place, told in statement.run(conn, given):
            values = json.loads(told) if isinstance(told, str) else told
            found[cast(int, part)].append((cast(int, place), cast(Sequence[object], values)))
        rows: dict[int, list[Any]] = {}
        for number, part in enumerate(self._parts):
            make = _maker(part.row, self._columns[number], self._values[name][number])
            ordered = sorted(found[number], key=lambda each: each[0])
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
        told = [_number_part(number, part, array) for number, part in enumerate(self._parts)]
        statement = PreparedStatement(sa.select(sa.union_all(*told).subquery()))
        self._statements[dialect.name] = statement
        return statement


def _number_part(number: int, part: QueryPart[Any], array: str) -> _Query:
    """Make the query that gives the number of a part, and of each row its place and its values."""
    keys = [_key(clause) for clause in part.order]
    named = [key.label(f"{_KEY}{n}") for n, (key, _) in enumerate(keys)]
    query = part.query.add_columns(*named)
    if part.limit is not None:  # before places are given, which would read everything
        query = query.order_by(*part.order).limit(part.limit)
    found = query.subquery()
    by = [found.c[f"{_KEY}{n}"].desc() if down else found.c[f"{_KEY}{n}"] for n, (_, down) in enumerate(keys)]
    place = sa.func.row_number().over(order_by=by) if by else sa.literal_column("0", sa.Integer)
    columns = [column for column in found.c if not column.name.startswith(_KEY)]
    make = getattr(sa.func, array)
    return sa.select(
        sa.literal_column(str(number), sa.Integer).label("part"),
        place.label("place"),
        sa.cast(make(*columns), sa.Text).label("told"),
    )


def _key(clause: sa.ColumnElement[Any]) -> tuple[sa.ColumnElement[Any], bool]:
    """Give what rows are ordered by, and whether the largest comes first."""
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
