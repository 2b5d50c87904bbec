"""Engines and transactions on SQLite and PostgreSQL.

A transaction is opened in `service` and nowhere else, by one of three calls: `read` (a snapshot),
`write` (once) or `with_retry` (a function that may run again). Rows that a rule depends on are
locked with `Select.with_for_update()`, which is a row lock on PostgreSQL and nothing on SQLite,
where a write transaction (BEGIN IMMEDIATE) is alone anyway.
"""

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from deltareg.db import HEAD
from deltareg.db.faults import is_unique_violation, named_faults
from deltareg.db.sql.sqlite_file import DatabaseFile
from deltareg.db.sql.timed_cursors import TimedSqliteConnection, timed_postgresql_cursor
from deltareg.errors import Conflict, Misconfigured, Unavailable
from deltareg.host.time_spent import spending

T = TypeVar("T")

BEGIN_OPTION = "deltareg_begin"
"""The execution option of a connection that writes: the statement that SQLite begins with."""
# Compiling a plan (JIT) takes longer than what we ask; the planner cannot tell.
_POSTGRESQL_OPTIONS = {"lock_timeout": "10s", "idle_in_transaction_session_timeout": "1min", "jit": "off"}
# A host that is gone says nothing: without these a request waits a quarter of an hour for it, and an idle
# connection for hours, while another database has taken its place. Seconds, and milliseconds.
_GONE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
_FIRST_PAUSE_S = 0.1
_RESTS_SINCE = "rests_since"
_TRUSTED_S = 0.5


def create_engine(url: str | sa.URL, *, connections: int = 30, busy_timeout_s: float = 5.0) -> sa.Engine:
    """Create an engine for `sqlite:///path` or `postgresql+psycopg://…`; nothing is opened yet.

    Args:
        url: Where the database is.
        connections: How many connections may be open at once; a third of them stays open. With 0 each use opens one.
        busy_timeout_s: How long a SQLite write waits for the writer before it.

    Raises:
        Misconfigured: The URL is malformed or of another database.
    """
    target = parse_url(url)
    if target.get_backend_name() == "sqlite":
        return _sqlite(target, _pool_of(connections // 3, 2 * (connections // 3)), busy_timeout_s=busy_timeout_s)
    pool_size = connections // 3
    return _postgresql(target, _pool_of(pool_size, connections - pool_size))


def _pool_of(pool_size: int, max_overflow: int) -> dict[str, Any]:
    if not pool_size:
        return {"poolclass": sa.NullPool}
    sizes = {"pool_size": pool_size, "max_overflow": max_overflow, "pool_timeout": 10}
    # The one that was used last knows the statements: PostgreSQL plans each anew for the first uses of a connection.
    return {"poolclass": _Pool, "pool_use_lifo": True, **sizes}


class _Pool(sa.QueuePool):
    """Connections that are lent out; a request notes how long it waited for one."""

    def connect(self) -> PoolProxiedConnection:
        """Lend a connection."""
        with spending("connection"):
            return super().connect()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the pool says more than the error that is raised: a lost connection has no cursor to close."""
    return record.getMessage().strip() != "Error closing cursor"


logging.getLogger(f"{__name__}.{_Pool.__name__}").addFilter(_is_news)


def parse_url(url: str | sa.URL) -> sa.URL:
    """Check a database URL.

    Raises:
        Misconfigured: It is malformed, names another kind of database, or is SQLite without a file.
    """
    try:
        target = sa.make_url(url)
    except exc.ArgumentError as error:
        raise Misconfigured("the database URL is malformed", fix=_URL_FIX) from error
    if target.drivername == "postgresql":
        return target.set(drivername="postgresql+psycopg")
    if target.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise Misconfigured(f"no support for {target.drivername!r} databases", fix=_URL_FIX)
    if target.get_backend_name() == "sqlite" and target.database in {None, "", ":memory:"}:
        raise Misconfigured("a SQLite database needs a file", fix=_URL_FIX)
    return target


_URL_FIX = "write sqlite:///path/to/file.db or postgresql+psycopg://user@host/name"


@contextmanager
def read(engine: sa.Engine) -> Generator[sa.Connection, None, None]:
    """Open a transaction that reads one snapshot and writes nothing.

    Raises:
        Unavailable: The database cannot answer now.
    """
    options: dict[str, object] = (
        {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        if engine.dialect.name == "postgresql"
        else {}
    )
    with named_faults(), engine.connect() as conn:
        if options:
            conn.execution_options(**options)
        with conn.begin():
            yield conn


@contextmanager
def glance(engine: sa.Engine) -> Generator[sa.Connection, None, None]:
    """Open a connection on which each statement sees what was committed before it began.

    It is for answers whose statements need not agree on a moment, and saves both databases the
    start and the end of a transaction. With SQLite these cost more than the statements: each of
    them yields to the server's other threads and then waits to continue.

    Raises:
        Unavailable: The database cannot answer now.
    """
    with named_faults(), engine.connect() as conn:
        yield conn


@contextmanager
def write(engine: sa.Engine) -> Generator[sa.Connection, None, None]:
    """Open a transaction that commits when the block ends and rolls back when it raises.

    SQLite: BEGIN IMMEDIATE, so there is one writer and no upgrade from reading. PostgreSQL: READ
    COMMITTED; a statement sees what was committed before it began, so lock first, then look.

    Raises:
        Unavailable: The database cannot answer now. When that is raised by the end of the block,
            the transaction may or may not have been committed.
        DiskFull: The disk of the database is full.
    """
    with named_faults(), engine.connect() as conn:
        as_writer(conn)
        with conn.begin() as transaction:
            yield conn
            if transaction.is_active:
                with spending("database"):
                    transaction.commit()


def as_writer(conn: sa.Connection) -> None:
    """Make the transactions of a connection those that `write` opens."""
    conn.execution_options(**{BEGIN_OPTION: "BEGIN IMMEDIATE"})
    if conn.dialect.name == "postgresql":
        conn.execution_options(isolation_level="READ COMMITTED")


def with_retry(
    engine: sa.Engine,
    fn: Callable[[sa.Connection], T],
    *,
    attempts: int = 5,
    jitter: Callable[[], float] = random.random,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Run `fn` in a write transaction, and run it again if the database could not answer.

    It is not run again after COMMIT was sent, for then nobody knows whether it took effect.

    It is run again, too, when another transaction has committed a row under the same unique key between the
    look of `fn` and its write: `fn` then finds that row and answers by its own rules. This is the one place
    that handles such a violation (SQLSTATE 23505), so that no use case has to.

    Args:
        engine: The database.
        fn: The whole transaction; it must change nothing but rows.
        attempts: How often to try in all.
        jitter: Returns a number in [0, 1), so that rivals do not retry at the same time.
        sleep: Waits for the given seconds.

    Raises:
        Unavailable: The last attempt failed, or the connection was lost while committing.
        Conflict: A row with the same unique key was in the way each time.
    """
    for attempt in range(attempts):
        is_commit_sent = False
        try:
            with write(engine) as conn:
                result = fn(conn)
                is_commit_sent = True
        except exc.IntegrityError as error:
            _check_may_run_again(error, is_last=attempt == attempts - 1)
            continue  # the other has committed: there is nothing to wait for
        except Unavailable:
            if is_commit_sent or attempt == attempts - 1:
                raise
        else:
            return result
        sleep(_FIRST_PAUSE_S * 2**attempt * (0.5 + jitter() / 2))
    raise AssertionError("attempts must be at least 1")


def _check_may_run_again(error: exc.IntegrityError, *, is_last: bool) -> None:
    """Raise an error that another attempt does not cure.

    Raises:
        Conflict: A unique key is taken, and this was the last attempt.
        IntegrityError: It is about something else than a unique key.
    """
    if not is_unique_violation(error):
        raise error
    if is_last:
        raise Conflict("somebody else wrote the same at this moment", fix="look, and try again") from error


def try_transaction(engine: sa.Engine, transaction: Callable[[sa.Connection], T]) -> T:
    """Run a transaction and roll it back; return what it returned, or raise what it raised."""

    def attempt(conn: sa.Connection) -> T:
        with conn.begin_nested() as trial:
            result = transaction(conn)
            trial.rollback()
        return result

    return with_retry(engine, attempt)


def schema_head(engine: sa.Engine) -> str | None:
    """Return the schema revision of the database; None if it has none."""
    with read(engine) as conn:
        if not sa.inspect(conn).has_table("alembic_version"):
            return None
        return conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def check_schema(engine: sa.Engine) -> None:
    """Refuse a database whose schema this code does not work with.

    A schema that a later release has expanded is accepted: that release wrote down which servers
    work with it (`deltareg_migrations.steps`).

    Raises:
        Misconfigured: It is older or absent, or a later release has made it another one.
    """
    revision = schema_head(engine)
    if revision == HEAD:
        return
    if revision is None or revision < HEAD:
        raise Misconfigured(
            f"the database has schema {revision or 'none'}, this server needs {HEAD}",
            fix="run `deltareg server migrate` (or `deltareg-migrate upgrade`) with this release",
        )
    with read(engine) as conn:
        oldest = conn.execute(_OLDEST_SERVER).one()
    if oldest.works_from > HEAD:
        raise Misconfigured(
            f"the database has schema {revision}, with which servers from {oldest.works_from} on work;"
            f" this one is of {HEAD}",
            fix=f"install the release that changed it, {oldest.release}, or a later one; the way back is"
            f" `deltareg-migrate downgrade {HEAD}` with that release",
        )


_OLDEST_SERVER = sa.text("SELECT works_from, release FROM schema_steps ORDER BY works_from DESC LIMIT 1")


def options_that_do_not_hold(engine: sa.Engine) -> list[str]:
    """Return the names of the settings that connections ask for and do not have, as behind a pooler.

    Raises:
        Unavailable: The database cannot answer now.
    """
    if engine.dialect.name != "postgresql":
        return []
    with glance(engine) as conn:
        held = {name: conn.execute(sa.select(sa.func.current_setting(name))).scalar() for name in _POSTGRESQL_OPTIONS}
    return [name for name, value in _POSTGRESQL_OPTIONS.items() if held[name] != value]


def _postgresql(target: sa.URL, pool: dict[str, Any]) -> sa.Engine:
    options = " ".join(f"-c {name}={value}" for name, value in _POSTGRESQL_OPTIONS.items())
    engine = sa.create_engine(
        target,
        **pool,
        # As with SQLite, a connection begins no transaction by itself: what opens one says which.
        isolation_level="AUTOCOMMIT",
        connect_args={
            "connect_timeout": 10,
            **_GONE,
            "application_name": f"deltareg {HEAD}",
            "options": options,
            "cursor_factory": timed_postgresql_cursor(),
        },
    )
    event.listen(engine, "checkin", _note_rest)
    event.listen(engine, "checkout", partial(_ping_if_rested, engine.dialect))
    return engine


def _note_rest(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info[_RESTS_SINCE] = time.monotonic()


def _ping_if_rested(
    dialect: sa.Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, _lent: PoolProxiedConnection
) -> None:
    """Replace a connection that was cut by a restart of the server before it is used.

    A connection that answered a moment ago is trusted: a ping costs as much as a small query.
    """
    since = record.info.get(_RESTS_SINCE)
    if since is None or time.monotonic() - since < _TRUSTED_S:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise exc.InvalidatePoolError from error


def _sqlite(target: sa.URL, pool: dict[str, Any], *, busy_timeout_s: float) -> sa.Engine:
    engine = sa.create_engine(
        target,
        **pool,
        # The driver opens and ends no transaction by itself: BEGIN is ours.
        connect_args={"isolation_level": None, "timeout": busy_timeout_s, "factory": TimedSqliteConnection},
    )
    file = DatabaseFile(target.database or "")
    event.listen(engine, "connect", partial(_open, file))
    event.listen(engine, "begin", partial(_begin, file))
    return engine


def _open(file: DatabaseFile, connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    if not isinstance(connection, sqlite3.Connection):
        raise TypeError(f"not a SQLite connection: {connection!r}")
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # an acknowledged commit survives a power cut
        "foreign_keys = ON",
        "recursive_triggers = ON",  # else INSERT OR REPLACE deletes behind the triggers' back
    ):
        connection.execute(f"PRAGMA {pragma}")
    file.note_opened()


def _begin(file: DatabaseFile, conn: sa.Connection) -> None:
    begin = conn.get_execution_options().get(BEGIN_OPTION)
    if begin is not None:
        file.check_unmoved()
        conn.exec_driver_sql(begin)
        return
    # A plain BEGIN waits for nobody and cannot fail, and is not worth what SQLAlchemy spends on it.
    connection = conn.connection.driver_connection
    if not isinstance(connection, sqlite3.Connection):
        raise TypeError(f"not a SQLite connection: {connection!r}")
    connection.execute("BEGIN")
