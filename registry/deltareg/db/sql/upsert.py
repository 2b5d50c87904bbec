"""INSERT that leaves existing rows alone, written alike for both databases."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

# SQLite allows 32,766 bound values in a statement, PostgreSQL 65,535.
_BATCH = 500


def insert(conn: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """Start an INSERT that has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)


def batches(values: Sequence[T]) -> Iterator[list[T]]:
    """Split a sequence into parts that fit into one statement."""
    rest = iter(values)
    while part := list(islice(rest, _BATCH)):
        yield part
