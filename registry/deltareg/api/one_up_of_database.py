"""Allows one `deltareg up` with workers for a database, from whichever folder or host.

The workers beside an `up` share one principal, whose tokens and key each start sets anew: a second
`up` over the same database would lock the first one's workers out. The locks are the kernel's, or
those of an open PostgreSQL connection: a process that dies releases them.
"""

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import sqlalchemy as sa

from deltareg.api.one_up import only_up_beside
from deltareg.db.session import create_engine, parse_url
from deltareg.errors import Conflict

_LOCK = 0x6465_6C74_6175_70  # "deltaup" in ASCII; the locks of each database are its own
_HELD_BY = sa.text(
    "SELECT a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (CAST(l.classid AS BIGINT) << 32) + CAST(l.objid AS BIGINT) = :lock"
)
_FIX = "use that one; or run a further server with: deltareg server run, and further workers with: deltareg worker run"


@contextmanager
def only_up_of(database_url: str, folder: Path, url: str) -> Generator[None, None, None]:
    """Be the only `up` with workers of a database while the block lasts.

    Args:
        database_url: The database.
        folder: The data folder, which is locked already.
        url: The address that this one listens on.

    Raises:
        Conflict: Another one runs.
    """
    target = parse_url(database_url)
    if target.get_backend_name() == "sqlite":
        path = Path(target.database or "").absolute()
        is_held = path.parent == folder.absolute()
        with nullcontext() if is_held else only_up_beside(path, url):
            yield
        return
    engine = create_engine(target, connections=3)
    try:
        with engine.connect() as conn:
            _take(conn, f"deltareg up {socket.gethostname()[:16]} {os.getpid()} {url}")
            yield
    finally:
        engine.dispose()  # closes the session, which lets go of the lock


def _take(conn: sa.Connection, told: str) -> None:
    set_name = sa.text("SELECT set_config('application_name', :told, false)")
    conn.execute(set_name, {"told": told[:63]})
    if conn.execute(sa.select(sa.func.pg_try_advisory_lock(_LOCK))).scalar():
        return
    holder = conn.execute(_HELD_BY, {"lock": _LOCK}).scalar() or ""
    host, _, rest = str(holder).removeprefix("deltareg up ").partition(" ")
    pid, _, url = rest.partition(" ")
    where = f"{url} (process {pid} on {host})" if url else "another process"
    raise Conflict(f"`deltareg up` runs on this database already: {where}", fix=_FIX)
