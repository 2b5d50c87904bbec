"""Logging in and out, and the settings as the command line keeps and shows them."""

import io
import stat
import sys

import pytest

from deltareg.host.token_files import read_token, token_path


@pytest.fixture
def stdin(monkeypatch):
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_login_keeps_a_token_that_the_server_knows(shell, local_registry, monkeypatch, stdin):
    monkeypatch.setenv("DELTAREG_SERVER", local_registry.url)
    stdin(local_registry.token("read", principal="bo") + "\n")

    ended = shell("auth", "login", "--token-stdin", "--json")

    path = token_path(local_registry.url)
    assert (ended.status, ended.json["principal"]) == (0, "bo")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert shell("auth", "status").status == 0


def test_login_keeps_nothing_that_the_server_refuses(shell, local_registry, monkeypatch, stdin):
    monkeypatch.setenv("DELTAREG_SERVER", local_registry.url)
    stdin("drg_pat_nonsense")

    ended = shell("auth", "login", "--token-stdin")

    assert ended.status == 4
    assert read_token(local_registry.url) is None


def test_logout_forgets_and_status_says_so(user, local_registry):
    first, second = user("auth", "logout", "--json").json, user("auth", "logout", "--json").json

    ended = user("auth", "status")

    assert (first["forgotten"], second["forgotten"]) == (True, False)
    assert ended.status == 4
    assert "deltareg auth login" in ended.err


def test_a_token_that_others_can_read_is_not_used(user, local_registry):
    token_path(local_registry.url).chmod(0o644)

    ended = user("ls")

    assert ended.status == 2
    assert "chmod 600" in ended.err


def test_config_set_get_unset(shell):
    shell("config", "set", "timeout", "2m")
    kept = shell("config", "get", "timeout").out
    shell("config", "unset", "timeout")

    assert kept == "2m\n"
    assert shell("config", "get", "timeout").out == "30s\n"
    assert shell("config", "unset", "timeout").status == 2


def test_config_keeps_a_setting_in_a_profile(shell):
    assert shell("config", "set", "timeout", "9m", "--profile", "slow").status == 0

    assert shell("config", "get", "timeout").out == "30s\n"
    assert shell("config", "get", "timeout", "--profile", "slow").out == "9m\n"
    assert shell("config", "get", "timeout", "--profile", "none").status == 2


def test_config_list_says_where_values_come_from_and_hides_the_token(shell, monkeypatch):
    monkeypatch.setenv("DELTAREG_TOKEN", "drg_pat_secret")

    ended = shell("config", "list", "--show-origin", "--timeout", "7s")

    assert "drg_pat_secret" not in ended.out
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines()}
    assert rows["server"] == ["http://127.0.0.1:1", "DELTAREG_SERVER"]
    assert rows["timeout"] == ["7s", "--timeout"]
    assert rows["retries"] == ["5", "default"]
    assert rows["token"] == ["(hidden)", "DELTAREG_TOKEN"]


def test_a_broken_setting_can_be_repaired(shell):
    shell("config", "set", "retries", "3")
    path = shell.home / "config" / "deltareg" / "config.toml"
    path.write_text('retries = "many"\n')

    broken, repaired = shell("ls"), shell("config", "set", "retries", "3")

    assert broken.status == 2
    assert str(path) in broken.err
    assert repaired.status == 0
    assert shell("config", "get", "retries").out == "3\n"


def test_config_path_is_a_path(shell):
    assert shell("config", "path").out.strip() == str(shell.home / "config/deltareg/config.toml")
