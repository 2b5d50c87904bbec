"""What an upgrade would do is told beforehand, and nothing of the database changes by asking."""

import time

import pytest
from click.testing import CliRunner

from deltareg_migrations import planning
from deltareg_migrations import schema as migrations
from deltareg_migrations.command_line import main
from tests.migrations.populated import populate, rows_of


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)])
def asked_url(request):
    """For PostgreSQL a plan walks all revisions, which takes seconds."""
    return request.getfixturevalue(f"{request.param}_url")


def test_a_plan_names_what_changes_with_its_rows_and_changes_nothing(asked_url):
    populate(asked_url)
    newest = ask(asked_url)
    migrations.downgrade(asked_url, revision="0052")
    before = rows_of(asked_url)

    offers, upgrades = planning.plan(asked_url)[:2]
    told = ask(asked_url)

    found = {change.table: change for change in offers.changes}
    assert newest == "nothing is due: the schema is the newest of this release\n"
    assert (offers.name, upgrades.name, upgrades.works_from) == ("0053", "0054", "")
    assert {"offers", "offer_marks", "version_metrics"} <= found.keys()
    assert found["version_metrics"].rows == 1
    assert found["version_metrics"].waits
    assert {change.table for change in upgrades.changes} >= {"workers", "servers", "release_suites"}
    assert migrations.current(asked_url) == "0052"
    assert rows_of(asked_url) == before
    assert "0054  expand  Workers say what they know" in told
    assert "workers is changed, 1 rows; waiting: all that use it, a moment" in told
    assert "servers that run now go on working" in told


@pytest.mark.soak
def test_about_how_long_is_about_how_long(database_url):
    """Within a factor of ten, with half a million rows of a table that is written anew."""
    populate(database_url)
    migrations.downgrade(database_url, revision="0052")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000)"
    with migrations.ready(database_url) as conn, conn.begin():
        metric = "INSERT INTO version_metrics (version_id, name, source, value)"
        conn.exec_driver_sql(f"{metric} {numbers} SELECT 1, 'loss ' || i, 'card', 0.5 FROM n")

    told = sum(change.seconds for revision in planning.plan(database_url) for change in revision.changes)
    began = time.monotonic()
    migrations.upgrade(database_url)
    took = time.monotonic() - began

    print(f"told {told:.1f} s, took {took:.1f} s")
    assert told / 10 < took < 10 * told


def ask(url):
    return CliRunner().invoke(main, ["--url", url, "plan"]).output
