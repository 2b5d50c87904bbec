"""Queries of every request: compiled once for each database, and run as their SQL text.

SQLAlchemy spends more time on a small query than the database does, mostly on repeating work. A
prepared query keeps the text, the order of its parameters and the conversions of its values;
errors, transactions and connections remain SQLAlchemy's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

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
    """A query compiled for one kind of database.

    Attributes:
        text: Its SQL.
        parameters: The names in the order of the text; None if the text names them.
        constants: Values of the parameters that the query brings itself.
        values: The place of a column, and the conversion of the driver's value to a Python value.
    """

    text: str
    parameters: tuple[str, ...] | None
    constants: Mapping[str, object]
    values: tuple[tuple[int, Value], ...]


_AT_ONCE: Mapping[str, Mapping[str, bool]] = {"psycopg": {"prepare": True}}
"""How a driver is told to let the database prepare a statement at its first use, and not at its sixth."""


class PreparedStatement:
    """A SELECT with parameters; may be shared by threads."""

    def __init__(self, query: sa.Select[*tuple[Any, ...]]) -> None:
        """Store the query; it is compiled on the first use with a database.

        Args:
            query: The query; its variable parts are `bindparam`s with names.
        """
        self._query = query
        self._compiled: dict[str, _Compiled] = {}

    def run(self, conn: sa.Connection, given: Mapping[str, object]) -> list[Sequence[object]]:
        """Run it with its parameters and return all rows, in the order of its columns."""
        compiled = self._compiled.get(conn.dialect.name) or self._compile(conn.dialect)
        values = {**compiled.constants, **given}
        order = compiled.parameters
        bound = values if order is None else tuple(values[name] for name in order)
        rows = _run(conn, compiled.text, bound)
        return [_convert_row(row, compiled.values) for row in rows]

    def fetch_int(self, conn: sa.Connection, **given: object) -> int | None:
        """Run it with its parameters; return the only number of its first row, None if there is none."""
        return next((cast(int | None, row[0]) for row in self.run(conn, given)), None)

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
        prepared = _Compiled(str(compiled), None if order is None else tuple(order), constants, tuple(values))
        self._compiled[dialect.name] = prepared
        return prepared


class PreparedQuery(Generic[R]):
    """A prepared statement whose rows belong to a class; may be shared by threads."""

    def __init__(self, query: sa.Select[*tuple[Any, ...]], row: type[R]) -> None:
        """Store the query; it is compiled on first use, as in `PreparedStatement`.

        Args:
            query: The query; its variable parts are `bindparam`s with names.
            row: A dataclass whose fields are the query's columns, in the same order.

        Raises:
            TypeError: The fields of the class are not the columns, or in another order.
        """
        check_order(query, row)
        self._statement = PreparedStatement(query)
        self._make: Callable[..., R] = row
        self._row_name = row.__name__

    def all(self, conn: sa.Connection, **given: object) -> list[R]:
        """Run it with its parameters and return all rows."""
        return [self._make(*row) for row in self._statement.run(conn, given)]

    def one(self, conn: sa.Connection, **given: object) -> R | None:
        """Run it and return its first row, or None."""
        return next(iter(self.all(conn, **given)), None)

    def require(self, conn: sa.Connection, **given: object) -> R:
        """Run it for a row that is known to exist.

        Raises:
            NoResultFound: It does not exist after all.
        """
        found = self.one(conn, **given)
        if found is None:
            raise exc.NoResultFound(f"no {self._row_name} was found where one had to be")
        return found


def check_order(query: sa.Select[*tuple[Any, ...]], row: type["DataclassInstance"]) -> None:
    """Check that the columns of a query are the fields of a class, in the same order.

    Raises:
        TypeError: They differ, or are in another order.
    """
    names = [field.name for field in fields(row)]
    columns = tuple(query.selected_columns.keys())
    check_columns(row.__name__, columns, names)
    if list(columns) != names:
        raise TypeError(f"the columns of the query are not in the order of {row.__name__}")


def conversion(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Value | None:
    """Return the conversion of a column's values to Python, None if the driver does it."""
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _as_bound(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect, value: object) -> object:
    """Convert a constant for the driver, for example a path into a JSON document to text."""
    convert = kind.dialect_impl(dialect).bind_processor(dialect)
    return value if convert is None else convert(value)


def _run(conn: sa.Connection, text: str, bound: object) -> Sequence[Sequence[object]]:
    """Run SQL text in a connection's transaction; driver errors are raised as SQLAlchemy's."""
    dialect = conn.dialect
    cursor = conn.connection.cursor()
    try:
        run: Callable[..., object] = cursor.execute
        run(text, bound, **_AT_ONCE.get(dialect.driver, {}))
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
    converted = list(row)
    for place, convert in values:
        converted[place] = convert(converted[place])
    return converted
