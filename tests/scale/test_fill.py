"""Filled registries: whole by the product's own checks, and what calls ask of them does not grow."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from deltareg.service.overview.trail_check import check_trail
from deltareg.service.upkeep import fsck
from tests.benchmarks.growth_calls import Asked, growth_calls
from tests.benchmarks.statement_counts import StatementCounter
from tests.pages.conftest import browser
from tests.scale.filled import DATABASES, empty_database, fill, live_template, serving
from tests.scale.plan import FillPlan
from tests.scale.template import TemplateLife
from tests.trail.logs import ADMIN

# What is asked of every registry all day long; each costs some ms a call.
_COUNTED = (
    "resolve by channel",
    "versions of a line",
    "ls",
    "ls by base",
    "channels ls",
    "channel show",
    "log",
    "runs ls",
    "audit by subject",
    "page line",
)


@pytest.fixture(scope="module")
def two(sqlite_template, tmp_path_factory):
    """Run two registries, one with twice the versions of the other, both with more than a page has."""
    folder = tmp_path_factory.mktemp("lived")
    less, more = folder / "less", folder / "more"
    less.mkdir()
    shutil.copyfile(sqlite_template, less / "registry.db")
    (folder / "template").mkdir()
    with serving(f"sqlite:///{less / 'registry.db'}", less) as server:
        template = TemplateLife(server, folder / "template", tensors=2).live(is_brief=True)
        with closing(sqlite3.connect(less / "registry.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copytree(less, more)
        url = f"sqlite:///{more / 'registry.db'}"
        fill(url, more, FillPlan.brief(160), template)
        fill(f"sqlite:///{less / 'registry.db'}", less, FillPlan.brief(80), template)
        with serving(url, more) as larger:
            yield server, larger


def test_a_filled_registry_is_whole_and_its_check_asks_no_more_of_twice_the_versions(two):
    asked = []
    for server in two:
        registry = server.registry
        with StatementCounter(registry.engine).counting() as counts:
            found = fsck.check(registry.engine, registry.store, read_data=False)
        asked.append(len(counts.statements))
        trail = check_trail(registry, ADMIN)

        assert (found.findings, found.packs > 60) == ((), True)
        assert (trail.findings, trail.signed > 200) == ((), True)

    assert asked[0] == asked[1]


def test_calls_ask_the_same_statements_of_twice_the_versions(two):
    counted = [statements(server) for server in two]

    assert counted[0] == counted[1]
    assert set(counted[0]) == set(_COUNTED)
    assert all(counted[0].values())


def statements(server):
    """Count what each call asks the database, once everything that is kept is kept."""
    counter = StatementCounter(server.registry.engine)
    api, found = server.http(server.admin_token), {}
    api.base_url = server.url
    with browser(server, server.admin_token) as pages:
        asked = Asked(api, pages, "scale0/line0", "scale0/line1", "scale-base-000", 60, "line1")
        for call in growth_calls():
            if call.name in _COUNTED:
                call.ask(asked)
                with counter.counting() as counts:
                    call.ask(asked)
                found[call.name] = len(counts.statements)
    return found


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("tensors", [8, 56])
@pytest.mark.parametrize("kind", DATABASES)
def test_all_that_a_life_leaves_is_copied_whole(kind, tensors, tmp_path):
    with empty_database(kind, tmp_path) as url:
        filled = fill(url, tmp_path, FillPlan(600, tensors=tensors), live_template(url, tmp_path, tensors=tensors))
        with serving(url, tmp_path) as server:
            registry = server.registry

            assert fsck.check(registry.engine, registry.store, read_data=False).findings == ()
            assert check_trail(registry, ADMIN).findings == ()
            assert filled.rows["versions"] == 600
            assert {"quarantines", "followers", "complete_verdicts", "summaries"} <= filled.rows.keys()
