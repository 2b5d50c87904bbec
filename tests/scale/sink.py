"""Writing many rows by the quickest way that each database has, and the checks that it leaves out.

Triggers and references are off while rows go in, and PostgreSQL has only the indexes of its
constraints. At the end they are as they were, and each reference is held to what is there.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from deltareg.db.session import as_writer, write
from deltareg.db.tables import metadata
from tests.fixtures.databases import take_statistics

_BATCH = 20_000
_TEXT, _JSON = 25, {114, 3802}  # by PostgreSQL's numbers: JSON goes in as the text that it is
_INDEXES = """
SELECT index.indexrelid::regclass::text, pg_get_indexdef(index.indexrelid)
FROM pg_index AS index JOIN pg_class AS owner ON owner.oid = index.indrelid
WHERE owner.relnamespace = 'public'::regnamespace
AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = index.indexrelid)
"""


class RowSink:
    """Takes rows of many tables and writes them in large batches."""

    def __init__(self, conn: sa.Connection):
        self.counts: Counter[str] = Counter()
        self._conn = conn
        self._is_postgresql = conn.dialect.name == "postgresql"
        self._waiting: dict[tuple[str, tuple[str, ...]], list[tuple[object, ...]]] = {}
        self._ids: dict[str, int] = {}
        self._writer = ThreadPoolExecutor(1)  # a database takes rows while the next are made
        self._written: Future[None] | None = None

    def new_id(self, table: str) -> int:
        """Return a row id that nothing has."""
        if table not in self._ids:
            self._wait()
            self._ids[table] = self._conn.exec_driver_sql(f'SELECT COALESCE(MAX(id), 0) FROM "{table}"').scalar_one()
        self._ids[table] += 1
        return self._ids[table]

    def add(self, table: str, columns: tuple[str, ...], values: tuple[object, ...]) -> None:
        """Take a row."""
        waiting = self._waiting.setdefault((table, columns), [])
        waiting.append(values)
        if len(waiting) >= _BATCH:
            self._put(table, columns, waiting)

    def flush(self) -> None:
        """Write what waits, and let the databases count on from there."""
        for (table, columns), waiting in self._waiting.items():
            self._put(table, columns, waiting)
        self._wait()
        if self._is_postgresql:
            for table in self._ids:
                self._conn.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {self._ids[table]})"
                    f" WHERE pg_get_serial_sequence('{table}', 'id') IS NOT NULL"
                )

    def end(self) -> None:
        """End its thread, which may have a batch in hand."""
        self._writer.shutdown()

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()

    def _put(self, table: str, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
        names = ", ".join(f'"{name}"' for name in columns)
        self.counts[table] += len(rows)
        if self._is_postgresql:
            self._wait()
            self._written = self._writer.submit(self._copy, table, names, rows.copy())
        else:
            marks = ", ".join("?" * len(columns))
            self._conn.connection.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', rows)
        rows.clear()

    def _copy(self, table: str, names: str, rows: list[tuple[object, ...]]) -> None:
        opened: Any = self._conn.connection.cursor()
        with opened as cursor:
            cursor.execute(f'SELECT {names} FROM "{table}" LIMIT 0')
            kinds = [_TEXT if column.type_code in _JSON else column.type_code for column in cursor.description]
            with cursor.copy(f'COPY "{table}" ({names}) FROM STDIN') as copy:
                copy.set_types(kinds)
                for row in rows:
                    copy.write_row(row)


@contextmanager
def filling(engine: sa.Engine) -> Iterator[RowSink]:
    """Fill a database in one transaction, with triggers and references off until its end."""
    if engine.dialect.name == "postgresql":
        with write(engine) as conn:
            conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
            indexes = conn.exec_driver_sql(_INDEXES).all()
            for name, _ in indexes:
                conn.exec_driver_sql(f"DROP INDEX {name}")
            sink = RowSink(conn)
            try:
                yield sink
                sink.flush()
            finally:
                sink.end()
            for _, statement in indexes:
                conn.exec_driver_sql(statement)
        take_statistics(engine)
        return
    with engine.connect() as conn:
        driver: Any = conn.connection.driver_connection
        for pragma in ("foreign_keys = OFF", "synchronous = OFF", "cache_size = -400000"):
            driver.execute(f"PRAGMA {pragma}")
        as_writer(conn)
        with conn.begin():
            triggers = driver.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers:
                driver.execute(f'DROP TRIGGER "{name}"')
            sink = RowSink(conn)
            yield sink
            sink.flush()
            for _, sql in triggers:
                driver.execute(sql)
        conn.invalidate()  # the next one waits for the disk again


def broken_references(engine: sa.Engine) -> list[str]:
    """Name the references that lead nowhere: there must be none."""
    with engine.connect() as conn:
        if conn.dialect.name == "sqlite":
            return [f"{row[0]} to {row[2]}" for row in conn.exec_driver_sql("PRAGMA foreign_key_check")]
        return list(_broken(conn))


def _broken(conn: sa.Connection) -> Iterable[str]:
    for table in metadata.sorted_tables:
        for reference in table.foreign_key_constraints:
            other = reference.referred_table.alias("other")
            pairs = [(each.parent, other.c[each.column.name]) for each in reference.elements]
            leads = sa.exists().where(*(mine == theirs for mine, theirs in pairs))
            lost = sa.select(sa.literal(1)).select_from(table).where(*(mine.is_not(None) for mine, _ in pairs), ~leads)
            if conn.execute(lost.limit(1)).first() is not None:
                yield f"{table.name} to {reference.referred_table.name}"
