"""All rows of all tables, read in one snapshot and loaded into an empty database of either system.

Values are what the database has, as text, numbers and bytes: what is packed stays packed, and the text of
a JSON column stays as it was written, to the letter.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from deltareg.db.faults import named_faults
from deltareg.db.session import as_writer, create_engine, read
from deltareg.db.tables import backup_holds, metadata

if TYPE_CHECKING:
    from psycopg import Connection

ColumnKind = Literal["number", "text", "bytes", "truth", "json"]
Value = int | float | str | bytes | bool | None
_ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class TableLayout:
    """A table as it is copied.

    Attributes:
        name: The table.
        columns: Its columns with what each holds, in the order of a row's values.
        key: The columns of the primary key, by which rows are ordered.
    """

    name: str
    columns: tuple[tuple[str, ColumnKind], ...]
    key: tuple[str, ...]


def all_layouts() -> list[TableLayout]:
    """Describe all tables of this release, those that others refer to first; backups that run are left out."""
    return [
        TableLayout(
            table.name,
            tuple((column.name, _kind_of(column.type)) for column in table.columns),
            tuple(column.name for column in table.primary_key.columns),
        )
        for table in metadata.sorted_tables
        if table is not backup_holds
    ]


@contextmanager
def long_read(engine: sa.Engine) -> Generator[sa.Connection, None, None]:
    """Open a snapshot that may stay open for hours."""
    with read(engine) as conn:
        if engine.dialect.name == "postgresql":
            conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield conn


def read_rows(conn: sa.Connection, layout: TableLayout) -> Iterator[tuple[Value, ...]]:
    """Give the rows of a table in the order of its key; memory does not grow with the table."""
    is_postgresql = conn.dialect.name == "postgresql"
    names = [
        f"CAST({_quote(name)} AS TEXT)" if kind == "json" and is_postgresql else _quote(name)
        for name, kind in layout.columns
    ]
    order = ", ".join(map(_quote, layout.key))
    query = f"SELECT {', '.join(names)} FROM {_quote(layout.name)} ORDER BY {order}"  # noqa: S608  # our own names
    truths = [number for number, (_, kind) in enumerate(layout.columns) if kind == "truth"]
    with conn.execution_options(yield_per=_ROWS_AT_ONCE).execute(sa.text(query)) as rows:
        for row in rows:
            values = list(cast("Sequence[Value]", row))
            for number in truths:
                values[number] = None if values[number] is None else bool(values[number])
            yield tuple(values)


def is_unused(engine: sa.Engine) -> bool:
    """Whether a database has no table of ours, or only those that a migration has just made."""
    with read(engine) as conn:
        return not any(
            sa.inspect(conn).has_table(name) and conn.execute(sa.text(f"SELECT 1 FROM {name} LIMIT 1")).first()  # noqa: S608
            for name in ("principals", "audit", "bases", "versions")
        )


@contextmanager
def loading(url: str | sa.URL) -> Generator[sa.Connection, None, None]:
    """Open a transaction in which nothing but the rows themselves is held against rules.

    Triggers are away until it ends: they refuse changes of what is append-only, and would write rows that
    are among those that are loaded. References are checked: by PostgreSQL as it loads, in SQLite by
    `broken_references`.
    """
    engine = create_engine(url, connections=0)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _references_off)
    try:
        with named_faults(), engine.connect() as conn:
            as_writer(conn)
            with conn.begin():
                if engine.dialect.name == "postgresql":
                    conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
                again = _take_triggers(conn)
                yield conn
                for statement in again:
                    conn.exec_driver_sql(statement)
    finally:
        engine.dispose()


def clear_tables(conn: sa.Connection, layouts: Sequence[TableLayout]) -> None:
    """Delete what migrations put into the tables; for `loading`."""
    for layout in reversed(layouts):
        conn.execute(sa.text(f"DELETE FROM {_quote(layout.name)}"))  # noqa: S608  # our own names


def load_rows(conn: sa.Connection, layout: TableLayout, rows: Iterable[Sequence[Value]]) -> int:
    """Insert the rows of a table, and return how many; for `loading`."""
    names = ", ".join(_quote(name) for name, _ in layout.columns)
    driver = conn.connection.driver_connection
    ready = _as_bytes(layout, rows)
    count = 0
    if conn.dialect.name == "postgresql":
        postgresql = cast("Connection[object]", driver)
        statement = f"COPY {_quote(layout.name)} ({names}) FROM STDIN"
        with postgresql.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in ready:
                copy.write_row(row)
                count += 1
        return count
    places = ", ".join("?" for _ in layout.columns)
    statement = f"INSERT INTO {_quote(layout.name)} ({names}) VALUES ({places})"  # noqa: S608  # our own names
    batch: list[tuple[Value, ...]] = []
    for row in ready:
        batch.append(tuple(row))
        count += 1
        if len(batch) == _ROWS_AT_ONCE:
            conn.exec_driver_sql(statement, batch)
            batch = []
    if batch:
        conn.exec_driver_sql(statement, batch)
    return count


def continue_numbers(conn: sa.Connection, layouts: Sequence[TableLayout]) -> None:
    """Let PostgreSQL go on counting behind the rows that were loaded; SQLite does so by itself."""
    if conn.dialect.name != "postgresql":
        return
    for layout in layouts:
        if layout.key == ("id",) and dict(layout.columns)["id"] == "number":
            conn.execute(
                sa.text(
                    "SELECT setval(s, (SELECT GREATEST(MAX(id), 1) FROM "  # noqa: S608  # our own names
                    f"{_quote(layout.name)}), (SELECT MAX(id) IS NOT NULL FROM {_quote(layout.name)}))"
                    " FROM pg_get_serial_sequence(:name, 'id') AS s WHERE s IS NOT NULL"
                ),
                {"name": layout.name},
            )


def broken_references(conn: sa.Connection) -> list[str]:
    """Return the tables of SQLite in which a row refers to one that is not there."""
    if conn.dialect.name != "sqlite":
        return []
    return sorted({str(row[0]) for row in conn.exec_driver_sql("PRAGMA foreign_key_check")})


def _take_triggers(conn: sa.Connection) -> list[str]:
    """Take the triggers of our tables away; return the statements that bring them back."""
    if conn.dialect.name == "sqlite":
        found = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
        for name, _ in found:
            conn.exec_driver_sql(f"DROP TRIGGER {_quote(name)}")
        return [str(statement) for _, statement in found]
    names = [_quote(name) for name in sa.inspect(conn).get_table_names() if name in metadata.tables]
    for name in names:
        conn.exec_driver_sql(f"ALTER TABLE {name} DISABLE TRIGGER USER")
    return [f"ALTER TABLE {name} ENABLE TRIGGER USER" for name in names]


def _as_bytes(layout: TableLayout, rows: Iterable[Sequence[Value]]) -> Iterator[Sequence[Value]]:
    """Give text in a column of bytes as bytes: SQLite keeps what it was given, PostgreSQL does not."""
    binary = [number for number, (_, kind) in enumerate(layout.columns) if kind == "bytes"]
    for row in rows:
        if any(isinstance(row[number], str) for number in binary):
            yield [
                value.encode() if number in binary and isinstance(value, str) else value
                for number, value in enumerate(row)
            ]
        else:
            yield row


def _kind_of(of: sa.types.TypeEngine[object]) -> ColumnKind:
    kind: object = of
    while isinstance(kind, sa.types.TypeDecorator):
        kind = kind.impl_instance
    for type_, name in _KINDS:
        if isinstance(kind, type_):
            return name
    raise AssertionError(f"no way to copy a column of {of!r}")


_KINDS: tuple[tuple[type, ColumnKind], ...] = (
    (sa.JSON, "json"),
    (sa.Boolean, "truth"),
    (sa.LargeBinary, "bytes"),
    (sa.String, "text"),
    (sa.Integer, "number"),
    (sa.Numeric, "number"),
    (sa.Float, "number"),
)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _references_off(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = OFF")
    cursor.close()
