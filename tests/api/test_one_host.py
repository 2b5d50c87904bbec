"""A SQLite database is served from one host at a time."""

import os

import pytest

from deltareg.api.one_host import STALE_S, Host, one_host
from deltareg.errors import Misconfigured

HERE = Host("kernel-1", "alpha")
THERE = Host("kernel-2", "beta")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'registry.db'}"


def test_another_host_is_refused_and_named(url):
    with (
        one_host(url, host=HERE),
        pytest.raises(Misconfigured, match="alpha"),
        one_host(url, host=THERE),
    ):
        pass


def test_another_process_of_the_same_host_may_serve_too(url):
    with one_host(url, host=HERE), one_host(url, host=Host("kernel-1", "a-container")):
        pass


def test_a_host_that_stopped_leaves_the_database_to_others(url, tmp_path):
    with one_host(url, host=HERE):
        pass

    with one_host(url, host=THERE):
        assert "beta" in (tmp_path / "registry.db-host").read_text()

    assert list(tmp_path.iterdir()) == []


def test_a_host_that_was_killed_is_forgotten_after_a_while(url, tmp_path):
    path = tmp_path / "registry.db-host"
    path.write_text('{"kernel": "kernel-1", "name": "alpha"}')
    long_ago = path.stat().st_mtime - STALE_S - 1
    os.utime(path, (long_ago, long_ago))

    with one_host(url, host=THERE):
        assert "beta" in path.read_text()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "alpha"}'])
def test_a_file_that_says_nothing_is_nobodys(url, tmp_path, content):
    (tmp_path / "registry.db-host").write_text(content)

    with one_host(url, host=THERE):
        pass


def test_a_postgresql_server_has_many_hosts():
    with one_host("postgresql+psycopg://db.example/registry", host=HERE):
        pass


def test_a_server_holds_its_database_while_it_serves(processes):
    server = processes.api().start()
    held = list(processes.folder.rglob("*.db-host"))

    server.stop()

    assert len(held) == 1
    assert not held[0].exists()
