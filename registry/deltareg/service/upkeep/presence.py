"""A serving process says that it is there, and follows the form in which rows are written.

While a server of an older release may be at work, rows are written so that it can read them. Who
upgrades says when that is over (`deltareg-migrate finish`), and is refused while an older server
still says that it is there.
"""

import deltareg
from deltareg.db import HEAD
from deltareg.db.session import read, with_retry
from deltareg.db.sql.written_form import NEWEST, write_form
from deltareg.db.upkeep import servers as queries
from deltareg.service.registry import Registry


def say_present(registry: Registry, server_id: str) -> None:
    """Record that this server is there, and write rows in the form of the database from now on."""
    server = queries.ServerRow(server_id, deltareg.__version__, HEAD, NEWEST)
    with_retry(registry.engine, lambda conn: queries.see_server(conn, server))
    follow_form(registry)


def follow_form_at_start(registry: Registry) -> bool:
    """Do as `follow_form` does before this server serves; a SQLite file is its own, so it decides."""
    if registry.engine.dialect.name == "sqlite" and not follow_form(registry):
        with_retry(registry.engine, lambda conn: queries.allow_newest_form(conn, release=deltareg.__version__))
    return follow_form(registry)


def say_gone(registry: Registry, server_id: str) -> None:
    """Record that this server has ended."""
    with_retry(registry.engine, lambda conn: queries.lose_server(conn, server_id))


def follow_form(registry: Registry) -> bool:
    """Write rows in the form of the database; return whether that is the newest."""
    with read(registry.engine) as conn:
        form = queries.written_form(conn)
    write_form(registry.engine, min(form, NEWEST))
    return form >= NEWEST
