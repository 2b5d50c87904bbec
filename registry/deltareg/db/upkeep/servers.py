"""The serving processes, as each says that it is there, and the form in which they write rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import insert
from deltareg.db.sql.written_form import NEWEST, READ_FROM
from deltareg.db.tables import schema_steps, servers

SEEN_US = 120 * US_PER_S
"""A server that has not said for so long that it is there is gone."""
_KEPT_US = 86_400 * US_PER_S
_OF_BEFORE = (
    "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'deltareg'"
)


@dataclass(frozen=True, slots=True)
class ServerRow:
    """A serving process: its release, the revision it was written for, and the newest form that it reads."""

    id: str
    release: str
    schema: str
    reads: int


def see_server(conn: sa.Connection, server: ServerRow) -> None:
    """Record that a server is there, and forget those that have been gone for a day."""
    row = insert(conn, servers).values(
        id=server.id, release=server.release, schema=server.schema, reads=server.reads, last_seen_at=now_us()
    )
    conn.execute(row.on_conflict_do_update(index_elements=["id"], set_={"last_seen_at": row.excluded.last_seen_at}))
    conn.execute(sa.delete(servers).where(servers.c.last_seen_at < now_us() - _KEPT_US))


def lose_server(conn: sa.Connection, server_id: str) -> None:
    """Record that a server has ended."""
    conn.execute(sa.delete(servers).where(servers.c.id == server_id))


def live_servers(conn: sa.Connection) -> Sequence[ServerRow]:
    """List the servers that are there, by release."""
    columns = (servers.c.id, servers.c.release, servers.c.schema, servers.c.reads)
    query = sa.select(*columns).where(servers.c.last_seen_at > now_us() - SEEN_US)
    return fetch_all(conn, query.order_by(servers.c.schema, servers.c.release, servers.c.id), ServerRow)


def count_silent(conn: sa.Connection) -> int:
    """Count the connections of servers from before servers said that they are there; on SQLite nobody can tell."""
    return 0 if conn.dialect.name == "sqlite" else conn.execute(sa.text(_OF_BEFORE)).scalar_one()


def written_form(conn: sa.Connection) -> int:
    """Return the newest form in which rows may be written."""
    names = conn.execute(sa.select(schema_steps.c.name).where(schema_steps.c.kind == "form")).scalars()
    return max((int(name.removeprefix("form ")) for name in names), default=0)


def allow_newest_form(conn: sa.Connection, *, release: str) -> None:
    """Let rows be written in the newest form from now on, which older servers cannot read."""
    values = {"name": f"form {NEWEST}", "kind": "form", "works_from": READ_FROM[NEWEST], "release": release}
    row = insert(conn, schema_steps).values(values)
    conn.execute(row.on_conflict_do_nothing(index_elements=["name"]))
