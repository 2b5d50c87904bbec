"""Tokens are kept one file a server, for nobody else to read, and found by the address."""

import stat

import pytest

from deltareg.errors import InvalidInput, Misconfigured
from deltareg.host.token_files import forget_token, read_token, token_path, write_token

SERVER = "https://deltas.example:8443"


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "deltareg"


@pytest.mark.parametrize(
    ("server", "name"),
    [
        ("http://127.0.0.1:8642", "127.0.0.1_8642"),
        ("http://localhost:8642/", "127.0.0.1_8642"),
        ("http://[::1]:8642", "127.0.0.1_8642"),
        ("http://0.0.0.0:8642", "127.0.0.1_8642"),
        ("https://deltas.example", "deltas.example_443"),
        ("http://deltas.example/prefix", "deltas.example_80"),
        ("https://[2001:db8::7]:9", "2001-db8--7_9"),
    ],
)
def test_the_file_is_named_by_host_and_port(config, server, name):
    assert token_path(server) == config / "tokens" / name


@pytest.mark.parametrize("server", ["", "deltas.example", "ftp://x", "http://", "http://x:99999"])
def test_what_is_no_address_has_no_token(server):
    with pytest.raises(InvalidInput):
        token_path(server)


def test_only_the_owner_can_read_it():
    path = write_token(SERVER, "drg_pat_x")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_token(SERVER) == "drg_pat_x"


def test_a_new_token_takes_the_place_of_the_old_one_and_leaves_no_draft():
    write_token(SERVER, "old")
    path = write_token(SERVER, "new")

    assert read_token(SERVER) == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read_is_refused(mode):
    write_token(SERVER, "drg_pat_x").chmod(mode)

    with pytest.raises(Misconfigured) as raised:
        read_token(SERVER)

    assert "chmod 600" in raised.value.fix
    assert "drg_pat_x" not in raised.value.message


def test_one_server_does_not_get_the_token_of_another():
    write_token(SERVER, "drg_pat_x")

    assert read_token("https://other.example:8443") is None


def test_forgetting():
    write_token(SERVER, "drg_pat_x")

    assert forget_token(SERVER) is True
    assert forget_token(SERVER) is False
    assert read_token(SERVER) is None
