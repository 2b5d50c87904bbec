"""Cursors that note how long statements take, for the request that they belong to (`host.time_spent`).

They stand below SQLAlchemy, so prepared queries, which bypass most of it, are noted as well.
"""

import sqlite3
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Self

from deltareg.host.time_spent import SPENT


class TimedSqliteCursor(sqlite3.Cursor):
    """A cursor of SQLite; rows are computed while they are fetched, so that counts as well."""

    def execute(self, sql: str, parameters: Any = (), /) -> Self:  # noqa: ANN401  # as sqlite3 has it
        """Run a statement."""
        spent = SPENT.get()
        if spent is None:
            return super().execute(sql, parameters)
        began = time.perf_counter()
        try:
            return super().execute(sql, parameters)
        finally:
            spent.statement(sql, began)

    def executemany(self, sql: str, parameters: Any, /) -> Self:  # noqa: ANN401  # as sqlite3 has it
        """Run a statement for each of many rows."""
        spent = SPENT.get()
        if spent is None:
            return super().executemany(sql, parameters)
        began = time.perf_counter()
        try:
            return super().executemany(sql, parameters)
        finally:
            spent.statement(sql, began)

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        spent = SPENT.get()
        if spent is None:
            return super().fetchall()
        began = time.perf_counter()
        try:
            return super().fetchall()
        finally:
            spent.add("database", began)


class TimedSqliteConnection(sqlite3.Connection):
    """A connection of SQLite whose cursors are timed."""

    def cursor(self, factory: Any = TimedSqliteCursor) -> Any:  # noqa: ANN401  # as sqlite3 has it
        """Open a cursor."""
        return super().cursor(factory)


@cache
def timed_postgresql_cursor() -> type[Any]:
    """Return the class of psycopg's cursors that are timed; psycopg is loaded by who uses PostgreSQL alone."""
    import psycopg

    class TimedPostgresqlCursor(psycopg.Cursor[Any]):
        """A cursor of PostgreSQL, which has all rows once a statement is done."""

        def execute(self, query: Any, params: Any = None, **options: Any) -> Self:  # noqa: ANN401  # as psycopg has it
            """Run a statement."""
            _time(super().execute, query, params, **options)
            return self

        def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:  # noqa: ANN401  # as psycopg has it
            """Run a statement for each of many rows."""
            _time(super().executemany, query, params_seq, **options)

    return TimedPostgresqlCursor


def _time(run: Callable[..., Any], query: Any, params: Any, **options: Any) -> Any:  # noqa: ANN401  # as psycopg has it
    spent = SPENT.get()
    if spent is None:
        return run(query, params, **options)
    began = time.perf_counter()
    try:
        return run(query, params, **options)
    finally:
        spent.statement(str(query), began)
