"""A token is in no repr, no log line, no exception and no file but the one that it is kept in."""

import logging
import traceback

import httpx
import pytest

from deltareg.client import Client, ClientConfig
from deltareg.client.config import load_config
from deltareg.errors import DeltaregError, Forbidden, InvalidInput, Unauthenticated
from tests.fixtures.registries import SAMPLES

SECRET = "drg_pat_" + "x" * 43 + "_abcdef"


def test_no_repr_shows_it(tmp_path):
    config = ClientConfig(token=SECRET, cache_dir=tmp_path)
    loaded = load_config(environ={"DELTAREG_TOKEN": SECRET})

    with Client(config) as client:
        shown = [
            config,
            loaded,
            loaded.config,
            client,
            client._api,
            client._api._http,
            client._api._http.headers,
            client._context,
        ]
        for thing in shown:
            assert "xxxx" not in repr(thing)
            assert "xxxx" not in str(thing)
    assert loaded.config.token == SECRET


@pytest.mark.parametrize(
    "token", [f"{SECRET}\nX-Evil: 1", f"{SECRET}\r\n1", f"é{SECRET}", f"{SECRET} {SECRET}", f"{SECRET}\0"]
)
def test_a_token_that_cannot_be_sent_is_not_quoted(tmp_path, token):
    with pytest.raises(InvalidInput) as refused:
        Client(ClientConfig(token=token, cache_dir=tmp_path))

    text = "".join(traceback.format_exception(refused.value))
    assert "xxxx" not in text


def test_a_line_end_after_it_does_no_harm(shared_registry, tmp_path):
    token = shared_registry.token("read")
    config = ClientConfig(server=shared_registry.url, token=f" {token}\n", cache_dir=tmp_path)

    with Client(config) as client:
        assert client.whoami().principal == "ada"


def test_nothing_is_logged_of_it(shared_registry, caplog, capfd, tmp_path):
    caplog.set_level(logging.DEBUG)
    token = shared_registry.token("read")
    client = shared_registry.client(("read",))
    wrong = ClientConfig(server=shared_registry.url, token=token[:-1] + "~", cache_dir=tmp_path)

    client.pull("team/lora")
    errors = []
    for act in (
        lambda: client.push(SAMPLES / "deltas" / "tinyllama" / "lora", "team/x", base="tinyllama"),
        lambda: who(wrong),
        lambda: client.show("team/absent"),
    ):
        with pytest.raises(DeltaregError) as error:
            act()
        errors.append(error.value)

    told = "".join("".join(traceback.format_exception(error)) for error in errors)
    assert [type(error) for error in errors][:2] == [Forbidden, Unauthenticated]
    for text in (told, caplog.text, *capfd.readouterr()):
        assert token not in text
        assert client.config.token not in text


def test_nothing_in_the_cache_or_the_data_folder_has_it(shared_registry):
    client = shared_registry.client()
    client.pull("team/lora")

    for path in shared_registry.folder.rglob("*"):
        if path.is_file():
            assert client.config.token.encode() not in path.read_bytes()


def who(config):
    with Client(config) as client:
        client.whoami()


@pytest.mark.postgres
@pytest.mark.s3
def test_the_object_store_never_sees_it(bucket_registry, break_network):
    """A redirect to the bucket is followed without the token."""
    bucket_registry.line("lora")
    client = bucket_registry.client(("read",))
    seen: list[httpx.Request] = []
    client._api._http.event_hooks["request"].append(seen.append)

    client.pull("team/lora")

    away = [r for r in seen if not str(r.url).startswith(bucket_registry.url)]
    assert away
    assert all("authorization" not in request.headers for request in away)
