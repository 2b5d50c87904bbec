"""Queries that every request asks: compiled once for each database, and run as their SQL text.

SQLAlchemy spends more on a small query than the database does, above all on working out again what
it worked out before. A prepared query keeps the text, the order of its parameters and what has to
be done to its values; errors, transactions and connections are SQLAlchemy's as always.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from deltareg.db.sql.fetch import check_columns

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")
Value = Callable[[Any], object]
"""What makes a value of Python of what a driver gives for a column."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A query as one database takes it.

    Attributes:
        text: Its SQL.
        parameters: Names in the order of the text; None where the text names them.
        constants: Values of parameters that the query itself brings.
        values: By the place of a column, what makes a value of Python of what the driver gives.
    """

    text: str
    parameters: tuple[str, ...] | None
    constants: Mapping[str, object]
    values: tuple[tuple[int, Value], ...]


class PreparedStatement:
    """A SELECT with parameters; may be shared by threads."""

    def __init__(self, query: sa.Select[*tuple[Any, ...]]) -> None:
        """Prepare nothing yet: the first use with a database does.

        Args:
            query: The query; what varies in it is a `bindparam` with a name.
        """
        self._query = query
        self._compiled: dict[str, _Compiled] = {}

    def run(self, conn: sa.Connection, given: Mapping[str, object]) -> list[Sequence[object]]:
        """Run it with its parameters and give all rows, in the order of its columns."""
        compiled = self._compiled.get(conn.dialect.name) or self._compile(conn.dialect)
        values = {**compiled.constants, **given}
        order = compiled.parameters
        bound = values if order is None else tuple(values[name] for name in order)
        found = _run(conn, compiled.text, bound)
        return [_convert_row(row, compiled.values) for row in found]

    def _compile(self, dialect: sa.Dialect) -> _Compiled:
        compiled = self._query.compile(dialect=dialect)
        order = getattr(compiled, "positiontup", None)
        free = {name for name, bind in compiled.binds.items() if bind.required}
        constants = {
            name: _as_bound(compiled.binds[name].type, dialect, value)
            for name, value in compiled.params.items()
            if name not in free
        }
        values = [
            (place, convert)
            for place, column in enumerate(self._query.selected_columns)
            if (convert := conversion(column.type, dialect)) is not None
        ]
        found = _Compiled(str(compiled), None if order is None else tuple(order), constants, tuple(values))
        self._compiled[dialect.name] = found
        return found


class PreparedQuery(Generic[R]):
    """A statement whose rows are of a class; may be shared by threads."""

    def __init__(self, query: sa.Select[*tuple[Any, ...]], row: type[R]) -> None:
        """Prepare nothing yet, as `Statement`.

        Args:
            query: The query; what varies in it is a `bindparam` with a name.
            row: A dataclass whose fields are the query's columns, in the same order.

        Raises:
            TypeError: They are not.
        """
        check_order(query, row)
        self._statement = PreparedStatement(query)
        self._make: Callable[..., R] = row

    def all(self, conn: sa.Connection, **given: object) -> list[R]:
        """Run it with its parameters and give all rows."""
        return [self._make(*row) for row in self._statement.run(conn, given)]

    def one(self, conn: sa.Connection, **given: object) -> R | None:
        """Run it and give its first row, or None."""
        return next(iter(self.all(conn, **given)), None)


def check_order(query: sa.Select[*tuple[Any, ...]], row: type["DataclassInstance"]) -> None:
    """Hold the columns of a query against the fields of a class, which have to be in their order.

    Raises:
        TypeError: They differ, or stand in another order.
    """
    names = [field.name for field in fields(row)]
    columns = tuple(query.selected_columns.keys())
    check_columns(row.__name__, columns, names)
    if list(columns) != names:
        raise TypeError(f"the columns of the query are not in the order of {row.__name__}")


def conversion(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Value | None:
    """Give what makes values of Python of a column's, where a driver does not do it by itself."""
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _as_bound(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect, value: object) -> object:
    """Give a constant as a driver takes it: the path into a JSON document, for one, as a text."""
    convert = kind.dialect_impl(dialect).bind_processor(dialect)
    return value if convert is None else convert(value)


def _run(conn: sa.Connection, text: str, bound: object) -> Sequence[Sequence[object]]:
    """Run a text in the transaction of a connection; what the driver raises is SQLAlchemy's."""
    dialect = conn.dialect
    cursor = conn.connection.cursor()
    try:
        run: Callable[..., object] = cursor.execute
        run(text, bound)
        return cursor.fetchall()
    except dialect.loaded_dbapi.Error as error:
        is_lost = dialect.is_disconnect(error, conn.connection.dbapi_connection, cursor)
        if is_lost:
            conn.invalidate(error)
        raise exc.DBAPIError.instance(
            text,
            None,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=is_lost,
            dialect=dialect,
        ) from error
    finally:
        cursor.close()


def _convert_row(row: Sequence[object], values: tuple[tuple[int, Value], ...]) -> Sequence[object]:
    if not values:
        return row
    found = list(row)
    for place, convert in values:
        found[place] = convert(found[place])
    return found
