"""The command line of the migrations, as a process of its own."""

import subprocess
import sys
from contextlib import suppress

import pytest

import deltareg_migrations as migrations
from deltareg import db

pytestmark = pytest.mark.usefixtures("forked")


def test_upgrade_takes_its_url_from_the_environment(empty_sqlite_url, monkeypatch):
    monkeypatch.setenv("DELTAREG_DATABASE_URL", empty_sqlite_url)

    done = migrate("upgrade")

    assert (done.returncode, done.stdout) == (0, f"the schema is at {db.HEAD}\n")


def test_check_fails_until_the_database_is_upgraded(empty_sqlite_url):
    before = migrate("--url", empty_sqlite_url, "check")
    migrate("--url", empty_sqlite_url, "upgrade")
    after = migrate("--url", empty_sqlite_url, "check")

    missing = f"the schema is absent, the newest is {db.HEAD}\n"
    assert (before.returncode, before.stdout) == (1, missing)
    assert (after.returncode, after.stdout) == (0, "the schema is what this release expects\n")


def test_downgrade_asks_first_and_current_shows_where_it_went(sqlite_url):
    refused = migrate("--url", sqlite_url, "downgrade", "0003", stdin="n\n")
    done = migrate("--url", sqlite_url, "downgrade", "0003", "--yes")
    shown = migrate("--url", sqlite_url, "current")

    assert refused.returncode == 1
    assert (done.returncode, shown.stdout) == (0, "0003\n")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://host/name", "no support for 'mysql' databases"),
        ("sqlite://", "a SQLite database needs a file"),
        ("nonsense", "the database URL is malformed"),
        ("postgresql://localhost:1/none?connect_timeout=2", "the database cannot answer now"),
    ],
)
def test_a_url_that_leads_nowhere_is_answered_in_a_sentence(url, message):
    done = migrate("--url", url, "upgrade")

    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_processes_that_migrate_at_the_same_time_take_turns(empty_database_url):
    argv = [sys.executable, "-m", "deltareg_migrations", "--url", empty_database_url, "upgrade"]
    running = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(3)]

    ended = [(process.communicate()[1], process.returncode) for process in running]

    assert [status for _, status in ended] == [0, 0, 0], ended
    assert migrations.current(empty_database_url) == db.HEAD
    assert migrations.check(empty_database_url) == []


def test_a_migration_that_was_killed_goes_on_where_it_stood(empty_database_url):
    argv = [sys.executable, "-m", "deltareg_migrations", "--url", empty_database_url, "upgrade"]
    # From before the first table to after the last one, on any machine.
    for delay_s in (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3):
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay_s)
        process.kill()
        process.wait()

    migrations.upgrade(empty_database_url)

    assert migrations.check(empty_database_url) == []


def migrate(*arguments, stdin=""):
    argv = [sys.executable, "-m", "deltareg_migrations", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, input=stdin, check=False)
