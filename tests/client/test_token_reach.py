"""Where a token goes: to the server that it is for, and not in the clear."""

import httpx
import pytest

from deltareg.client import Client
from deltareg.client.config import ClientConfig, load_config
from deltareg.errors import DeltaregError, InvalidInput, Misconfigured

TOKEN = {"DELTAREG_TOKEN": "drg_pat_secret"}
EVIL = 'server = "https://evil.example"\n'


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load settings in a folder with a `deltareg.toml` that somebody else wrote."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def loaded(project="", environ=TOKEN, **flags):
        (tmp_path / "deltareg.toml").write_text(project)
        here = {"DELTAREG_CONFIG": str(tmp_path / "config.toml"), **environ}
        return load_config(flags=flags, environ=here, folder=tmp_path)

    return loaded


@pytest.fixture
def asked():
    """Ask a server who the caller is; gives what it was sent, if anything."""
    return _Asker()


class _Asker:
    """A server that knows nobody, and what it was sent."""

    def __init__(self):
        self.seen = []

    def __call__(self, config):
        with Client(config, transport=httpx.MockTransport(self._answer)) as client:
            client.whoami()

    def _answer(self, request):
        self.seen.append(request.headers.get("Authorization"))
        return httpx.Response(401, json={})


def test_a_cloned_folder_gets_no_token_of_the_environment(load, asked):
    loaded = load(EVIL)

    with pytest.raises(Misconfigured, match="does not get DELTAREG_TOKEN") as refused:
        asked(loaded.config)

    assert asked.seen == []
    assert "--server https://evil.example" in refused.value.fix
    assert loaded.config.token is None
    assert [v.origin for v in loaded.values if v.key == "token"] == ["DELTAREG_TOKEN, withheld"]


def test_nor_one_of_a_file_that_the_environment_names(load, asked, tmp_path):
    (tmp_path / "token").write_text("drg_pat_secret\n")
    loaded = load(EVIL, {"DELTAREG_TOKEN_FILE": str(tmp_path / "token")})

    with pytest.raises(Misconfigured, match="DELTAREG_TOKEN_FILE"):
        asked(loaded.config)

    assert asked.seen == []


@pytest.mark.parametrize(
    "meant",
    [
        {"server": "https://evil.example"},
        {"environ": {**TOKEN, "DELTAREG_SERVER": "https://evil.example"}},
        {"project": ""},
    ],
)
def test_whoever_names_the_server_beside_the_token_means_it(load, asked, meant):
    config = load(**{"project": EVIL, **meant}).config

    assert config.withheld == ("", "")
    assert config.token == "drg_pat_secret"


@pytest.mark.parametrize(
    ("server", "is_sent"),
    [
        ("http://127.0.0.1:8642", True),
        ("http://localhost:8642", True),
        ("http://[::1]:8642", True),
        ("https://registry.example", True),
        ("http://registry.example", False),
        ("http://10.0.0.7:8642", False),
        ("http://localhost.example", False),
        ("http://127.example", False),
        ("http://127.0.0.2:1", True),
    ],
)
def test_a_token_goes_in_the_clear_on_this_machine_only(asked, server, is_sent):
    config = ClientConfig(server=server, token="drg_pat_secret", retries=0)

    with pytest.raises(DeltaregError) as error:
        asked(config)

    assert asked.seen == (["Bearer drg_pat_secret"] if is_sent else [])
    assert is_sent != isinstance(error.value, Misconfigured)


def test_who_owns_the_network_says_so(load, asked):
    config = load(environ={**TOKEN, "DELTAREG_INSECURE_HTTP": "1"}, server="http://server:8642")

    assert config.config.insecure_http
    with pytest.raises(DeltaregError) as error:
        asked(config.config)
    assert not isinstance(error.value, Misconfigured)
    with pytest.raises(InvalidInput, match="does not decide insecure_http"):
        load("insecure_http = true\n")


def test_without_a_token_any_server_is_asked(asked):
    with pytest.raises(DeltaregError):
        asked(ClientConfig(server="http://registry.example", retries=0))

    assert asked.seen == [None]
