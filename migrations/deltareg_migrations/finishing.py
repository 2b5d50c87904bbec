"""The end of a rolling upgrade: rows are written in the newest form, and old ones are written anew.

Until then servers of the release before can be started again. It is refused while one of them is
there, as servers say it themselves; those of a release before that are known by their connections
to PostgreSQL. With SQLite, where one server has the file, it is up to who runs it.
"""

from collections.abc import Iterator

import sqlalchemy as sa

import deltareg
from deltareg.db.session import create_engine, read, write
from deltareg.db.sql.written_form import NEWEST
from deltareg.db.upkeep.servers import ServerRow, allow_newest_form, count_silent, live_servers, written_form
from deltareg.errors import Conflict, Misconfigured
from deltareg_migrations.packing import PackReport, pack
from deltareg_migrations.schema import current, newest_revision


def finish(url: str | sa.URL, *, is_forced: bool = False) -> Iterator[PackReport]:
    """Allow the newest form, then write old rows anew in batches; yield a report for each table once it is done.

    It may be killed at any time and run again.

    Args:
        url: The database.
        is_forced: Whether to go on although an older server seems to be there.

    Raises:
        Misconfigured: The database is not at the newest revision.
        Conflict: A server is there that cannot read the newest form.
        Unavailable: The database cannot answer now.
    """
    if current(url) != newest_revision():
        raise Misconfigured("the schema is not the newest one", fix="deltareg-migrate upgrade")
    engine = create_engine(url, connections=3)
    try:
        with read(engine) as conn:
            is_done = written_form(conn) >= NEWEST
            older = [] if is_done or is_forced else tell_older(conn)
        if older:
            raise Conflict(
                f"servers of older releases are still there: {', '.join(older)}",
                fix="stop them, wait two minutes, and run this again; --force goes on although they seem to be there",
            )
        with write(engine) as conn:
            allow_newest_form(conn, release=deltareg.__version__)
    finally:
        engine.dispose()
    yield from pack(url)


def tell_older(conn: sa.Connection) -> list[str]:
    """Name the servers that cannot read the newest form."""
    older = [_tell(row) for row in live_servers(conn) if row.reads < NEWEST]
    silent = count_silent(conn)
    return [*older, *([f"{silent} connections of a release before 0054"] if silent else [])]


def _tell(row: ServerRow) -> str:
    return f"{row.release} (schema {row.schema})"
