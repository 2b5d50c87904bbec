"""Which servers work with the schema as it is: each revision writes it down as it is applied.

A revision that only expands says nothing: servers that worked with the schema before still do. One
that contracts names the oldest server that works with it, by the revision that the server was
written for: `works_from = "0060"` beside `revision`. An older server then refuses to start, and
every other one starts, whatever it was written for.
"""

import sqlalchemy as sa

import deltareg
from deltareg.db.sql.clock import now_us
from deltareg.db.tables import schema_steps


def note_step(conn: sa.Connection, name: str, works_from: str) -> None:
    """Write a revision down; nothing where the schema has no place for that yet."""
    if not _has_table(conn):
        return
    values = {
        "name": name,
        "kind": "contract" if works_from else "expand",
        "works_from": works_from,
        "release": deltareg.__version__,
        "created_at": now_us(),
    }
    conn.execute(sa.delete(schema_steps).where(schema_steps.c.name == name))
    conn.execute(sa.insert(schema_steps).values(values))


def forget_step(conn: sa.Connection, name: str) -> None:
    """Forget a revision that was taken back."""
    if _has_table(conn):
        conn.execute(sa.delete(schema_steps).where(schema_steps.c.name == name))


def _has_table(conn: sa.Connection) -> bool:
    return sa.inspect(conn).has_table(schema_steps.name)
