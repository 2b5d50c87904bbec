"""A SQLite database is served from one host at a time."""

import os
import shutil
from threading import Barrier, BrokenBarrierError, Thread

import pytest

from deltareg.api.one_host import STALE_S, HostIdentity, one_host
from deltareg.errors import Misconfigured, Unavailable

HERE = HostIdentity("kernel-1", "alpha")
THERE = HostIdentity("kernel-2", "beta")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'registry.db'}"


def test_another_host_is_refused_and_named(url):
    with one_host(url, host=HERE), pytest.raises(Misconfigured, match="alpha"), one_host(url, host=THERE):
        pass


def test_another_process_of_the_same_host_may_serve_too(url):
    with one_host(url, host=HERE), one_host(url, host=HostIdentity("kernel-1", "a-container")):
        pass


def test_a_process_that_stops_leaves_its_host_the_database(url):
    with one_host(url, host=HERE):
        with one_host(url, host=HERE):
            pass

        with pytest.raises(Misconfigured, match="alpha"), one_host(url, host=THERE):
            pass


def test_a_host_that_stopped_leaves_the_database_to_others(url, tmp_path):
    with one_host(url, host=HERE):
        pass

    with one_host(url, host=THERE):
        assert [path.read_text() for path in claims(tmp_path)] == ["beta"]

    assert claims(tmp_path) == []


def test_a_host_that_was_killed_is_forgotten_after_a_while(url, tmp_path):
    claim = left_behind(tmp_path)
    long_ago = claim.stat().st_mtime - STALE_S - 1
    os.utime(claim, (long_ago, long_ago))

    with one_host(url, host=THERE):
        assert [path.read_text() for path in claims(tmp_path)] == ["beta"]


def test_a_host_that_was_just_killed_is_waited_for(url, tmp_path):
    left_behind(tmp_path)

    with pytest.raises(Misconfigured, match="alpha"), one_host(url, host=THERE):
        pass

    assert [path.read_text() for path in claims(tmp_path)] == ["alpha"]


def test_of_two_that_start_at_once_none_misses_the_other(url, tmp_path):
    ready, served = Barrier(2), []

    def start(host):
        ready.wait()
        try:
            with one_host(url, host=host):
                served.append(host)
                ready.wait(5)
        except (Misconfigured, BrokenBarrierError):
            ready.abort()

    threads = [Thread(target=start, args=[host]) for host in (HERE, THERE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(served) <= 1


def claims(folder):
    return sorted((folder / "registry.db-hosts").iterdir())


def left_behind(folder):
    """Leave a claim as a server does that is killed."""
    claim = folder / "registry.db-hosts" / f"{HERE.kernel}.1"
    claim.parent.mkdir()
    claim.write_text(HERE.name)
    return claim


def test_a_postgresql_server_has_many_hosts():
    with one_host("postgresql+psycopg://db.example/registry", host=HERE):
        pass


def test_a_server_holds_its_database_while_it_serves(processes):
    server = processes.api().start()
    held = list(processes.folder.rglob("*.db-hosts/*"))

    server.stop()

    assert len(held) == 1
    assert not held[0].exists()


def remove(database, _backup):
    shutil.rmtree(database.parent)


def replace(database, backup):
    shutil.copyfile(database, backup)
    backup.replace(database)


@pytest.mark.parametrize("harm", [remove, replace])
def test_a_server_acknowledges_nothing_into_a_file_that_is_not_in_its_place(processes, tmp_path, harm):
    server = processes.api().start()
    client = server.client(tmp_path / "user")
    client.namespaces.create("before")
    database = server.data_dir / "registry.db"

    harm(database, tmp_path / "backup.db")

    with pytest.raises(Unavailable):
        client.namespaces.create("after")
    assert server.process.wait() == Unavailable.exit_code
    assert f"{harm.__name__}d under the running server" in server.process.errors
