"""From a query to rows of a class: the names are checked, once for each class and set of columns.

A row of SQLAlchemy has whatever columns its query selected, which no type checker sees. Here each
query says of which class its rows are, a frozen dataclass with a field for every column. Columns
and fields that differ are an error of ours, and raised at the first run of the query, rows or none.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import fields
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")
_Found = sa.Row[*tuple[Any, ...]]


def fetch_all(conn: sa.Connection, query: sa.Executable, row: type[R]) -> list[R]:
    """Run a query and give all of its rows.

    Args:
        conn: A transaction.
        query: A SELECT, or a statement with RETURNING.
        row: A dataclass whose fields are the query's columns, in any order.

    Raises:
        TypeError: They are not.
    """
    result = conn.execute(query)
    build = _builder(row, tuple(result.keys()))
    return [build(found) for found in result]


def fetch_each(conn: sa.Connection, query: sa.Executable, row: type[R]) -> Iterator[R]:
    """Run a query now and give its rows as they are read, for one that is streamed.

    Who has seen enough of it lets go of the iterator, which ends the stream.
    """
    result = conn.execute(query)
    return _each(result, _builder(row, tuple(result.keys())))


def _each(result: sa.CursorResult[Any], build: Callable[[_Found], R]) -> Iterator[R]:
    with closing(result):
        yield from map(build, result)


def fetch_one(conn: sa.Connection, query: sa.Executable, row: type[R]) -> R | None:
    """Run a query that gives one row, or none.

    Raises:
        TypeError: The fields of the class are not the columns of the query.
        MultipleResultsFound: It gives more than one row.
    """
    result = conn.execute(query)
    build = _builder(row, tuple(result.keys()))
    found = result.one_or_none()
    return None if found is None else build(found)


def fetch_known(conn: sa.Connection, query: sa.Executable, row: type[R]) -> R:
    """Run a query for a row that is known to be there.

    Raises:
        TypeError: The fields of the class are not the columns of the query.
        NoResultFound: It is not there after all.
    """
    found = fetch_one(conn, query, row)
    if found is None:
        raise exc.NoResultFound(f"no {row.__name__} was found where one had to be")
    return found


def check_columns(row: str, columns: tuple[str, ...], names: list[str]) -> None:
    """Hold the columns of a query against the fields of a class, whatever their order.

    Raises:
        TypeError: They differ.
    """
    twice = sorted({name for name in columns if columns.count(name) > 1})
    missing = sorted(set(names) - set(columns))
    strange = sorted(set(columns) - set(names))
    if not (twice or missing or strange):
        return
    wrong = [
        f"{what} {', '.join(found)}"
        for what, found in (("does not select", missing), ("selects beside them", strange), ("selects twice", twice))
        if found
    ]
    raise TypeError(f"the query is not one for {row}: it {'; it '.join(wrong)}")


@cache
def _builder(row: type[R], columns: tuple[str, ...]) -> Callable[[_Found], R]:
    make: Callable[..., R] = row
    names = [field.name for field in fields(row)]
    if list(columns) == names:
        return lambda found: make(*found)
    check_columns(row.__name__, columns, names)
    if len(names) == 1:
        return lambda found: make(*found)
    pick = itemgetter(*map(columns.index, names))
    return lambda found: make(*pick(found))
