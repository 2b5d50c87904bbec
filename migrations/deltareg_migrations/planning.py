"""What an upgrade of the schema would do: which tables it changes, what waits meanwhile, about how long.

The revisions that are due run in a copy of the schema without rows, a SQLite file that is thrown
away. Their statements are listened to, and held against the rows of the tables that they are about:
nothing of the database changes or waits. For PostgreSQL they are read as what alembic makes of the
same operations there; where SQLite copies a table, PostgreSQL changes and checks it.
"""

import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.script import Script, ScriptDirectory
from sqlalchemy import event

from deltareg.db.session import create_engine, read
from deltareg.errors import InvalidInput
from deltareg_migrations.schema import config_of, current, ready

_MADE = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
_MOST_COUNTED = 100_000
_NAME: Final = r'"?(?P<table>\w+)"?'


@dataclass(frozen=True, slots=True)
class _StatementKind:
    """A kind of statement: how it is recognised, and what it does to whom.

    Attributes:
        pattern: Matches the statement; the group `table` is what it is about.
        does: What it does, for people.
        waits: Who waits meanwhile.
        rows_per_s: How many rows it takes in a second, about; 0 if they do not matter.
    """

    pattern: re.Pattern[str]
    does: str
    waits: str
    rows_per_s: int


def _kind(pattern: str, does: str, waits: str, rows_per_s: int = 0) -> _StatementKind:
    regex = re.compile(pattern.replace("TABLE_NAME", _NAME), re.IGNORECASE | re.DOTALL)
    return _StatementKind(regex, does, waits, rows_per_s)


_NEW, _COPIED = "is new", "is copied"
_CHECKED = _StatementKind(re.compile(""), "is changed and checked", "all that use it", 1_000_000)
_OWN: Final = frozenset({"alembic_version", "schema_steps", "sqlite_master"})
_KINDS: Final = (
    _kind(r"INSERT INTO _alembic_tmp_TABLE_NAME", _COPIED, "all that write", 300_000),
    _kind(r"(CREATE TABLE|DROP TABLE|ALTER TABLE|PRAGMA).*_alembic_tmp_", "", ""),
    _kind(r"CREATE TABLE TABLE_NAME", _NEW, ""),
    _kind(r"CREATE (UNIQUE )?INDEX .*? ON TABLE_NAME", "gets an index", "all that write to it", 500_000),
    _kind(r"ALTER TABLE TABLE_NAME ADD CONSTRAINT", "is checked", "all that use it", 1_000_000),
    _kind(r"ALTER TABLE TABLE_NAME ALTER COLUMN .* TYPE", "is written anew", "all that use it", 300_000),
    _kind(r"ALTER TABLE TABLE_NAME ALTER COLUMN .* SET NOT NULL", "is checked", "all that use it", 1_000_000),
    _kind(r"ALTER TABLE TABLE_NAME", "is changed", "all that use it, a moment"),
    _kind(r"DROP TABLE TABLE_NAME", "is dropped", "all that use it, a moment"),
    _kind(r"CREATE TRIGGER .*? ON TABLE_NAME", "gets a trigger", "all that write to it, a moment"),
    _kind(r"(INSERT INTO \S+.*?|)SELECT .*? FROM TABLE_NAME", "is read", "", 100_000),
    _kind(r"UPDATE TABLE_NAME", "has rows written", "all that write to these rows", 50_000),
    _kind(r"DELETE FROM TABLE_NAME", "has rows deleted", "all that write to these rows", 50_000),
)


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """What a revision does to a table.

    Attributes:
        table: The table.
        does: What becomes of it, as the end of a sentence.
        waits: Who waits meanwhile; empty for nobody.
        rows: How many rows it has, about.
        seconds: How long it takes, about.
    """

    table: str
    does: str
    waits: str
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PlannedRevision:
    """A revision that is due.

    Attributes:
        name: The revision.
        about: What it is for.
        works_from: The revision of the oldest server that works with it; empty if all go on.
        changes: What it does, table by table.
    """

    name: str
    about: str
    works_from: str
    changes: tuple[PlannedChange, ...]


def plan(url: str | sa.URL) -> list[PlannedRevision]:
    """Return the revisions that are due, oldest first, with what each would do.

    Raises:
        InvalidInput: The database is at a revision that this release does not know.
        Misconfigured: The URL is malformed.
        Unavailable: The database cannot answer now.
    """
    at = current(url)
    due = _due(at)
    if not due or at is None:
        return [PlannedRevision(script.revision, _about(script), "", ()) for script in due]
    with _scratch(url, at) as conn:
        heard = {script.revision: _listen(conn, script.revision, is_sqlite=_is_sqlite(url)) for script in due}
    rows = _count_rows(url, {table for changes in heard.values() for table in changes})
    return [
        PlannedRevision(
            script.revision,
            _about(script),
            getattr(script.module, "works_from", ""),
            tuple(_weigh(change, rows) for change in heard[script.revision].values()),
        )
        for script in due
    ]


def _about(script: Script) -> str:
    return (script.doc or script.revision).splitlines()[0]


def _due(at: str | None) -> list[Script]:
    scripts = list(ScriptDirectory.from_config(config_of(None)).walk_revisions())[::-1]
    names = [script.revision for script in scripts]
    if at is not None and at not in names:
        raise InvalidInput(
            f"the database is at revision {at}, which this release does not know", fix="use the release that made it"
        )
    return scripts if at is None else scripts[names.index(at) + 1 :]


@contextmanager
def _scratch(url: str | sa.URL, at: str) -> Generator[sa.Connection, None, None]:
    """Open a copy of the schema without rows, in a file that is gone at the end."""
    with tempfile.TemporaryDirectory() as folder, ready(f"sqlite:///{Path(folder) / 'plan.db'}") as conn:
        if _is_sqlite(url):
            _copy_schema(url, conn, at)
        else:
            command.upgrade(config_of(conn), at)
        yield conn


def _is_sqlite(url: str | sa.URL) -> bool:
    return sa.make_url(url).get_backend_name() == "sqlite"


def _copy_schema(url: str | sa.URL, conn: sa.Connection, at: str) -> None:
    """Make what a SQLite database has of tables, indexes and triggers."""
    engine = create_engine(url, connections=3)
    try:
        with read(engine) as source:
            statements = list(source.exec_driver_sql(_MADE).scalars())
    finally:
        engine.dispose()
    with conn.begin():
        for statement in statements:
            conn.exec_driver_sql(statement)
        conn.exec_driver_sql("INSERT INTO alembic_version (version_num) VALUES (?)", (at,))


def _listen(conn: sa.Connection, revision: str, *, is_sqlite: bool) -> dict[str, PlannedChange]:
    """Apply a revision and return its changes, the slowest of each table; rows are not counted yet."""
    changes: dict[str, PlannedChange] = {}
    new: set[str] = set()

    def hear(
        _conn: sa.Connection, _cursor: object, statement: str, _parameters: object, _context: object, _many: object
    ) -> None:
        found = _read_statement(statement, is_sqlite=is_sqlite)
        if found is None or found.table in _OWN or found.table in new:
            return
        if found.does == _NEW:
            new.add(found.table)
        if changes.setdefault(found.table, found).seconds < found.seconds:
            changes[found.table] = found

    event.listen(conn, "before_cursor_execute", hear)
    try:
        command.upgrade(config_of(conn), revision)
    finally:
        event.remove(conn, "before_cursor_execute", hear)
    return changes


def _read_statement(statement: str, *, is_sqlite: bool) -> PlannedChange | None:
    """Return what a statement does; its seconds are those of a row."""
    text = " ".join(statement.split())
    for kind in _KINDS:
        if match := kind.pattern.match(text):
            table = match.groupdict().get("table")
            if not kind.does or table is None or table.startswith(("pg_", "sqlite_")):
                return None
            told = kind if is_sqlite or kind.does != _COPIED else _CHECKED
            return PlannedChange(table, told.does, told.waits, 0, 1 / told.rows_per_s if told.rows_per_s else 0.0)
    return None


def _weigh(change: PlannedChange, rows: Mapping[str, int]) -> PlannedChange:
    count = rows.get(change.table, 0)
    return replace(change, rows=count, seconds=count * change.seconds)


def _count_rows(url: str | sa.URL, tables: set[str]) -> dict[str, int]:
    """Count the rows of tables; of large ones in PostgreSQL, as its statistics have them."""
    engine = create_engine(url, connections=3)
    try:
        with read(engine) as conn:
            there = set(sa.inspect(conn).get_table_names()) & tables
            return {name: _count(conn, name) for name in sorted(there)}
    finally:
        engine.dispose()


def _count(conn: sa.Connection, table: str) -> int:
    if conn.dialect.name == "postgresql":
        guess = sa.text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:name)")
        about = int(conn.execute(guess, {"name": table}).scalar() or 0)
        if about > _MOST_COUNTED:
            return about
    return conn.execute(sa.select(sa.func.count()).select_from(sa.table(table))).scalar_one()
