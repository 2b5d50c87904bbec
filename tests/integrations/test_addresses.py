"""Addresses: read in one way, and no token goes where an address leads."""

import pytest

from deltareg.errors import InvalidInput
from deltareg.integrations.addresses import open_client, parse_address

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "server", "local"),
    [
        ("deltareg://", "", ""),
        ("deltareg://team", "", "team"),
        ("deltareg://team/chat", "", "team/chat"),
        ("deltareg://team/chat@prod", "", "team/chat@prod"),
        ("deltareg://team/chat@prod#17/README.md", "", "team/chat@prod#17/README.md"),
        (f"deltareg://team/chat@{DIGEST}/a/b.json", "", f"team/chat@{DIGEST}/a/b.json"),
        ("deltareg://team/chat:1.4.0/", "", "team/chat:1.4.0"),
        ("deltareg://registry.example/team/chat", "registry.example", "team/chat"),
        ("deltareg://registry.example/team/chat:v3/x", "registry.example", "team/chat:v3/x"),
        ("deltareg://127.0.0.1:8642/team/chat@prod/x", "127.0.0.1:8642", "team/chat@prod/x"),
        ("deltareg://localhost:8642", "localhost:8642", ""),
        ("deltareg://localhost:8642/team", "localhost:8642", "team"),
        ("team/chat:v3/x.json", "", "team/chat:v3/x.json"),
        ("host/team/chat@prod", "host", "team/chat@prod"),
    ],
)
def test_an_address_is_read_in_one_way(text, server, local):
    found = parse_address(text)

    assert (found.server, found.local) == (server, local)
    assert parse_address(found.local).local == local


@pytest.mark.parametrize("text", ["team/chat/x.json", "deltareg://h/team/chat/x.json", "a@b"])
def test_a_file_of_no_version_is_refused_with_what_to_write(text):
    with pytest.raises(InvalidInput, match="no version is named") as caught:
        parse_address(text)

    assert "ns/name@prod" in caught.value.fix


def test_a_token_of_the_environment_is_for_the_server_of_the_settings_alone(monkeypatch):
    monkeypatch.setenv("DELTAREG_SERVER", "https://registry.example")
    monkeypatch.setenv("DELTAREG_TOKEN", "drg_pat_mine")

    own, named, other = map(open_client, ("", "registry.example", "evil.example"))

    assert own.config.token == named.config.token == "drg_pat_mine"
    assert other.config.server == "https://evil.example"
    assert other.config.token is None


def test_only_this_machine_is_spoken_to_in_the_clear():
    assert open_client("127.0.0.1:9").config.server == "http://127.0.0.1:9"
    assert open_client("registry.example:9").config.server == "https://registry.example:9"
