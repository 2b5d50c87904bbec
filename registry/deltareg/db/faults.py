"""Which driver errors are temporary, and how they become errors of ours."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import exc

from deltareg.errors import DeltaregError, DiskFull, Misconfigured, Unavailable

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TEMPORARY_CLASSES = ("08", "40", "57P")  # connection, rollback (deadlock), operator intervention
_TEMPORARY_STATES = frozenset(
    {
        "25P03",  # idle in transaction for too long: this process was stalled
        "53300",  # too many connections
        "55P03",  # lock not available within lock_timeout
        "57014",  # query cancelled by a timeout
    }
)
_DISK_FULL_STATE = "53100"
_UNIQUE_STATE = "23505"
_UNIQUE_CODES = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
}
_MAKE_ROOM = "who runs the server has to make room on its database's disk"


@contextmanager
def named_faults() -> Generator[None, None, None]:
    """Turn driver errors that a retry may cure into `Unavailable`; others pass through.

    Raises:
        Unavailable: The database is locked, restarting, unreachable or out of connections.
        DiskFull: The disk of the database is full.
        Misconfigured: The database file does not exist, or is not a database.
    """
    try:
        yield
    except exc.TimeoutError as error:
        raise Unavailable("all database connections are in use", fix="try again") from error
    except exc.DBAPIError as error:
        fault = name_fault(error)
        if fault is None:
            raise
        raise fault from error


def name_fault(error: exc.DBAPIError) -> DeltaregError | None:
    """Return our error for a driver's error, or None if there is none for it."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _name_sqlite(cause)
    state = _sqlstate(cause)
    if state == _DISK_FULL_STATE:
        return DiskFull("the disk of the database is full", fix=_MAKE_ROOM)
    if error.connection_invalidated or _is_temporary(error, state):
        return Unavailable(f"the database cannot answer now ({_first_line(cause)})", fix="try again")
    return None


def is_unique_violation(error: exc.IntegrityError) -> bool:
    """Whether a row was refused because another one has the same unique key."""
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) in _UNIQUE_CODES
    return _sqlstate(error.orig) == _UNIQUE_STATE


def _is_temporary(error: exc.DBAPIError, state: str | None) -> bool:
    if state is None:  # no server answered at all
        return isinstance(error, exc.OperationalError)
    return state in _TEMPORARY_STATES or state.startswith(_TEMPORARY_CLASSES)


def _name_sqlite(cause: sqlite3.Error) -> DeltaregError | None:
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Unavailable("the database is busy with another writer", fix="try again")
    if code == sqlite3.SQLITE_FULL:
        return DiskFull("the server's disk is full, where its database is", fix=_MAKE_ROOM)
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB}:
        return Misconfigured(
            f"the database cannot be opened ({cause})",
            fix="`deltareg up` makes one in its data folder; is DELTAREG_DATA_DIR or"
            " DELTAREG_DATABASE_URL the right one?",
        )
    return None


def _sqlstate(cause: BaseException | None) -> str | None:
    state = getattr(cause, "sqlstate", None)
    return state if isinstance(state, str) else None


def _first_line(cause: BaseException | None) -> str:
    lines = str(cause).strip().splitlines()
    return lines[0][:200] if lines else type(cause).__name__
