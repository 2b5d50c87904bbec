"""Quotas begin with what is there, and count on alike on both databases."""

import sqlalchemy as sa

from deltareg.db.quotas.recount import recount
from deltareg.db.quotas.rows import UsageRow
from deltareg.db.quotas.usage import usage_rows
from deltareg.db.session import create_engine, read
from deltareg_migrations import schema as migrations
from tests.migrations.populated import populate

COUNTED = ("deltas", "hub_areas", "hub_drafts", "hub_staged", "packs", "upload_packs", "uploads", "versions")
BESIDE = {"deltas_counted_namespace_id", "namespaces_counted_name", "runs_counted_finished_at"}


def test_an_upgrade_counts_what_is_there(database_url):
    populate(database_url)
    migrations.downgrade(database_url, revision="0043")

    migrations.upgrade(database_url)

    engine = create_engine(database_url)
    with read(engine) as conn:
        kept, again = usage_rows(conn), recount(conn)
    engine.dispose()
    assert kept["ns:lab"].versions > 0
    assert kept["ns:lab"].bytes > 0
    assert {holder: row for holder, row in kept.items() if row != UsageRow(holder)} == again


def test_each_counted_table_has_its_triggers(database_url):
    """A later migration that writes a table of SQLite anew loses them, and has to make them again."""
    engine = create_engine(database_url)
    is_sqlite = engine.dialect.name == "sqlite"
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger'" if is_sqlite else "SELECT tgname FROM pg_trigger"
    with read(engine) as conn:
        names = {name for name in conn.execute(sa.text(query)).scalars() if "_counted_" in name}
    engine.dispose()

    updates = names - {f"{table}_counted_{event}" for table in COUNTED for event in ("insert", "delete")} - BESIDE
    assert len(names) == 3 * len(COUNTED) + len(BESIDE) + 1
    assert sorted({name.partition("_counted_")[0] for name in updates}) == [*COUNTED[:5], "runs", *COUNTED[5:]]
