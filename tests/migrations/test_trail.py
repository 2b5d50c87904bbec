"""What was done before the audit trail was a log waits to be sealed with the first batch."""

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import create_engine, write
from deltareg.service.registry import Registry
from deltareg.store.memory import MemoryStore
from deltareg_migrations import schema as migrations
from tests.trail.logs import SERVER, check, fill, seal_all


def test_rows_of_before_are_sealed_and_counted_apart(database_url):
    migrations.downgrade(database_url, revision="0023")
    engine = create_engine(database_url)
    fill(Registry(engine, MemoryStore()), 30)
    migrations.upgrade(database_url)
    registry = Registry(engine, MemoryStore(), signer=SERVER)
    fill(registry, 2)

    seal_all(registry)

    found = check(registry)
    assert (found.findings, found.size, found.from_before) == ([], 33, 32)
    with write(engine) as conn:
        assert conn.execute(sa.select(t.unsealed)).all() == []
    engine.dispose()
