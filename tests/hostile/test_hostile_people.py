"""Everybody tries every attack: nobody succeeds, and a defence that is off is noticed."""

from contextlib import contextmanager

import pytest

from tests.fixtures.databases import BOTH, database
from tests.hostile.faults import FAULTS, clear_caches
from tests.hostile.table import ATTACKS
from tests.hostile.threat_page import MODULES, PAGE, page
from tests.hostile.world import PEOPLE, world


def test_the_page_of_threats_lists_them_all():
    assert {one.module for one in ATTACKS.values()} == {module.__name__ for module in MODULES}
    assert PAGE.read_text() == page(), "python -m tests.hostile.threat_page --write"


@contextmanager
def made(request, which):
    """Make a world of its own on one of both databases."""
    folder = request.getfixturevalue("tmp_path_factory").mktemp("hostile")
    if which == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        (folder / "registry.db").write_bytes(template.read_bytes())
        with world(f"sqlite:///{folder / 'registry.db'}", folder) as found:
            yield found
        return
    server = request.getfixturevalue("postgresql_server")
    template = request.getfixturevalue("postgresql_template")
    with database(server, template=template) as url, world(url, folder) as found:
        yield found


@pytest.fixture
def sqlite_world(request):
    with made(request, "sqlite") as found:
        yield found


def succeeded(world, attacks, people=None):
    """Let people try attacks; list those that succeeded."""
    return [
        (one.name, who)
        for one in attacks
        for who in (one.best if people is None else people)
        if who not in one.but and one.tries(world, world.me(who))
    ]


@pytest.mark.slow
def test_nobody_who_comes_near_succeeds(sqlite_world):
    assert succeeded(sqlite_world, ATTACKS.values()) == []


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("which", BOTH)
def test_nobody_at_all_succeeds(request, which):
    with made(request, which) as found:
        assert succeeded(found, ATTACKS.values(), PEOPLE) == []


def test_every_defence_is_where_it_is_switched_off(sqlite_world):
    """By hand in `faults.py`, which the attacks of a soak are tried with."""
    for fault in FAULTS.values():
        with pytest.MonkeyPatch.context() as patch:
            fault.seed(patch, sqlite_world)
    clear_caches()


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_a_defence_that_is_off_is_noticed(sqlite_world, monkeypatch, fault):
    """By each of the attacks that it keeps out, none of which succeeds while it is on."""
    seeded = FAULTS[fault]
    tried = {words: [one for one in ATTACKS.values() if words in one.name] for words in seeded.noticed_by}
    before = {words: succeeded(sqlite_world, attacks) for words, attacks in tried.items()}
    clear_caches()
    seeded.seed(monkeypatch, sqlite_world)

    after = {words: succeeded(sqlite_world, attacks) for words, attacks in tried.items()}

    monkeypatch.undo()
    clear_caches()
    assert all(tried.values())
    assert not any(before.values())
    assert all(after.values()), after
