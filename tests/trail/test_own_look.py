"""The server's own look at its log: what a page says to who has no command line."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import Forbidden, NotFound
from deltareg.service.access.server_keys import announce_server_key
from deltareg.service.authority.grants import grants_of
from deltareg.service.overview.trail_check import check_trail
from deltareg.service.registry import Caller, Registry
from deltareg.store.memory import MemoryStore
from tests.trail.logs import ADMIN, SERVER, fill, seal_all


@pytest.fixture
def registry(engine):
    made = Registry(engine, MemoryStore(), signer=SERVER)
    announce_server_key(made)
    return made


def test_a_log_that_was_left_alone_holds(registry):
    fill(registry, 30)
    seal_all(registry)
    fill(registry, 2)

    found = check_trail(registry, ADMIN)

    assert (found.found, found.findings, found.notices) == (0, (), ())
    assert (found.size, found.signed, found.waiting) == (32, 32, 2)
    assert found.keyid == SERVER.keyid


def test_a_hash_that_was_changed_is_found_with_its_row(registry):
    fill(registry, 30)
    seal_all(registry)
    is_seventh = t.log_leaves.c.position == 7
    with write(registry.engine) as conn:
        leaf = conn.execute(sa.select(t.log_leaves).where(is_seventh)).one()
        _let_anything_be_changed(conn)
        conn.execute(sa.update(t.log_leaves).where(is_seventh).values(hash=bytes(32)))

    found = check_trail(registry, ADMIN)

    assert found.found > 0
    assert found.findings[0].row == leaf.audit_id


def _let_anything_be_changed(conn):
    """Do as who owns the database: no trigger stops them, in the transaction at least."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
        return
    names = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'log_leaves'"
    for (name,) in conn.exec_driver_sql(names).all():
        conn.exec_driver_sql(f"DROP TRIGGER {name}")


def test_what_is_too_long_for_a_page_is_not_looked_at(registry):
    fill(registry, 10)
    seal_all(registry)

    found = check_trail(registry, ADMIN, most=5)

    assert (found.is_too_long, found.size > 5) == (True, True)


def test_nothing_sealed_is_said_and_others_are_refused(registry):
    with pytest.raises(NotFound, match="sealed"):
        check_trail(registry, ADMIN)
    with pytest.raises(Forbidden):
        check_trail(registry, Caller("eve", 7, 7, grants_of(["read"])))
