"""Reads a query into rows of a class, and checks the names once per class and set of columns.

A SQLAlchemy row has whatever columns its query selected, and no type checker sees them. Here each
query names the class of its rows, a frozen dataclass with a field for every column. If columns and
fields differ, that is an error of ours, raised on the first run of the query, with or without rows.
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
    """Run a query and return all of its rows.

    Args:
        conn: A transaction.
        query: A SELECT, or a statement with RETURNING.
        row: A dataclass whose fields are the query's columns, in any order.

    Raises:
        TypeError: The fields of the class are not the columns of the query.
    """
    result = conn.execute(query)
    build = _builder(row, tuple(result.keys()))
    return [build(result_row) for result_row in result.all()]  # one by one costs twice as much


def fetch_each(conn: sa.Connection, query: sa.Executable, row: type[R]) -> Iterator[R]:
    """Run a query now and return an iterator over its rows, for a streamed query.

    Dropping the iterator early ends the stream.
    """
    result = conn.execute(query)
    return _each(result, _builder(row, tuple(result.keys())))


def _each(result: sa.CursorResult[Any], build: Callable[[_Found], R]) -> Iterator[R]:
    with closing(result):
        yield from map(build, result)


def fetch_one(conn: sa.Connection, query: sa.Executable, row: type[R]) -> R | None:
    """Run a query that returns at most one row.

    Raises:
        TypeError: The fields of the class are not the columns of the query.
        MultipleResultsFound: It returns more than one row.
    """
    result = conn.execute(query)
    build = _builder(row, tuple(result.keys()))
    result_row = result.one_or_none()
    return None if result_row is None else build(result_row)


def fetch_known(conn: sa.Connection, query: sa.Executable, row: type[R]) -> R:
    """Run a query for a row that is known to exist.

    Raises:
        TypeError: The fields of the class are not the columns of the query.
        NoResultFound: It does not exist after all.
    """
    known = fetch_one(conn, query, row)
    if known is None:
        raise exc.NoResultFound(f"no {row.__name__} was found where one had to be")
    return known


def check_columns(row: str, columns: tuple[str, ...], names: list[str]) -> None:
    """Check that the columns of a query are the fields of a class, in any order.

    Raises:
        TypeError: They differ.
    """
    twice = sorted({name for name in columns if columns.count(name) > 1})
    missing = sorted(set(names) - set(columns))
    strange = sorted(set(columns) - set(names))
    if not (twice or missing or strange):
        return
    wrong = [
        f"{what} {', '.join(wrong_names)}"
        for what, wrong_names in (
            ("does not select", missing),
            ("selects beside them", strange),
            ("selects twice", twice),
        )
        if wrong_names
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
