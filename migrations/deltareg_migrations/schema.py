"""The schema, revision by revision, for SQLite and PostgreSQL; shipped in the wheel.

Rules for a new revision: it works with the code that is still running (expand first, contract a
release later), says so if it contracts (`deltareg_migrations.steps`), keeps every row on the way
up and down, and imports nothing from `deltareg`, whose tables will have changed by the time it
runs. PostgreSQL commits after each revision, SQLite
after all of them; one process migrates at a time, and others wait.
"""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SAWarning
from sqlalchemy.pool import ConnectionPoolEntry

from deltareg.db import HEAD
from deltareg.db.faults import named_faults
from deltareg.db.session import as_writer, check_schema, create_engine, schema_head
from deltareg.db.tables import metadata
from deltareg.errors import InvalidInput

_ADVISORY_LOCK = 0x64656C7461726567  # "deltareg" in ASCII
# A migration that waits for a lock blocks everybody who comes after it: give up early.
_TIMEOUTS = "SET lock_timeout = '4s'; SET statement_timeout = '120s'"
_TURN_TIMEOUT = "SET lock_timeout = '300s'"


def upgrade(url: str | sa.URL, *, revision: str = "head") -> None:
    """Bring the database to a newer revision; nothing happens if it is there already.

    Nothing happens, either, to a schema that a later release has expanded.

    Raises:
        InvalidInput: There is no such revision.
        Misconfigured: The URL is malformed, or a later release has made the schema another one.
        Unavailable: The database cannot answer now, or a lock was not free in time.
    """
    if revision == "head" and _is_of_later_release(url):
        return
    with ready(url) as conn, _known_revision(revision):
        command.upgrade(config_of(conn), revision)


def downgrade(url: str | sa.URL, *, revision: str) -> None:
    """Take the database back to an older revision (`base` for an empty database).

    Tables that the older revision does not have are dropped with their rows.

    Raises:
        InvalidInput: There is no such revision.
        Misconfigured: The URL is malformed.
        Unavailable: The database cannot answer now, or a lock was not free in time.
    """
    with ready(url) as conn, _known_revision(revision):
        command.downgrade(config_of(conn), revision)


def current(url: str | sa.URL) -> str | None:
    """Return the revision of the database; None if it is empty."""
    engine = create_engine(url, connections=3)
    try:
        return schema_head(engine)
    finally:
        engine.dispose()


def _is_of_later_release(url: str | sa.URL) -> bool:
    """Whether a later release has migrated the database, in a way that this one works with."""
    engine = create_engine(url, connections=3)
    try:
        if (schema_head(engine) or "") <= HEAD:
            return False
        check_schema(engine)
        return True
    finally:
        engine.dispose()


def check(url: str | sa.URL) -> list[str]:
    """Return what differs between the database and what this release expects; empty if it fits."""
    revision, newest = current(url), newest_revision()
    if revision != newest:
        return [f"the schema is {revision or 'absent'}, the newest is {newest}"]
    with ready(url) as conn, warnings.catch_warnings():
        # Of an index over an expression it compares nothing on SQLite, and says so.
        warnings.filterwarnings("ignore", message=".*expression-based index", category=SAWarning)
        warnings.filterwarnings("ignore", message=".*expression-based index", category=UserWarning)
        context = MigrationContext.configure(conn)
        return [f"drift: {difference!r}" for difference in compare_metadata(context, metadata)]


def newest_revision() -> str | None:
    """Return the newest revision that this release contains."""
    return ScriptDirectory.from_config(config_of(None)).get_current_head()


def config_of(conn: sa.Connection | None) -> Config:
    """Return what alembic needs to work on a connection, or to read the revisions alone."""
    config = Config(attributes={"connection": conn})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _known_revision(revision: str) -> Generator[None, None, None]:
    try:
        yield
    except CommandError as error:
        raise InvalidInput(
            f"cannot go to revision {revision[:40]!r}: {error}",
            fix="`deltareg-migrate current` shows where the database is",
        ) from error


@contextmanager
def ready(url: str | sa.URL) -> Generator[sa.Connection, None, None]:
    """Connect, and on PostgreSQL wait for a lock; on SQLite the write transaction is the lock."""
    engine = create_engine(url, connections=3)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _foreign_keys_off)
    try:
        with named_faults(), engine.connect() as conn:
            as_writer(conn)
            if engine.dialect.name == "postgresql":
                _take_turn(conn)
            yield conn
    finally:
        engine.dispose()  # closes the session, which frees the advisory lock


def _take_turn(conn: sa.Connection) -> None:
    conn.exec_driver_sql(_TURN_TIMEOUT)
    conn.execute(sa.select(sa.func.pg_advisory_lock(_ADVISORY_LOCK)))
    conn.exec_driver_sql(_TIMEOUTS)
    conn.commit()


def _foreign_keys_off(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # A batch rebuilds a table by copy, drop and rename; with foreign keys on, the drop would take
    # the rows that refer to it along. Inside a transaction the pragma does nothing, hence here.
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = OFF")
    cursor.close()
