"""A job gets its token by itself: in GitHub by asking for an assertion, in GitLab with those it was given."""

from typing import cast

import httpx
import pytest

from deltareg import Client
from deltareg.client import ClientConfig
from deltareg.client.assertions import AssertionSource
from deltareg.client.config import load_config
from deltareg.client.http.exchange import ExchangedToken
from deltareg.errors import AssertionRefused, Misconfigured, Unauthenticated
from tests.exchange.issuer import GitHub, documented
from tests.fixtures.registries import serving


@pytest.fixture
def served(small_team):
    """Serve the team's registry, with a trust in the repository."""
    with serving(small_team.app) as url:
        small_team.url = url
        small_team.trust(scopes=["push", "promote"], audience=url)
        yield small_team


@pytest.fixture
def github(served):
    """Give GitHub's part: the variables of a job, and what was asked for."""
    with GitHub(served.issuer) as found:
        yield found.environ, found.seen


def _config(server, environ, tmp_path, **more):
    here = {"DELTAREG_CONFIG": str(tmp_path / "none.toml"), "DELTAREG_SERVER": server, "DELTAREG_RETRIES": "0"}
    return load_config(environ=here | environ | more, folder=tmp_path).config


def test_a_job_of_github_is_known_by_what_github_says(served, github, tmp_path):
    environ, seen = github

    with Client(_config(served.url, environ, tmp_path)) as client:
        names = {client.whoami().principal for _ in range(3)}

    assert names == {"ci-team"}
    assert seen == [(served.url, "Bearer of-the-job")]  # once, for this server, with the job's own secret


def test_a_job_of_gitlab_goes_through_what_it_was_given(served, tmp_path):
    made = [served.issuer.sign(documented("github", aud=served.url)) for _ in range(3)]
    environ = {"DELTAREG_ID_TOKEN": made[0], "DELTAREG_ID_TOKEN_2": made[1], "DELTAREG_ID_TOKEN_4": made[2]}
    config = _config(served.url, environ, tmp_path)

    names = []
    for _ in range(3):  # three commands of one job: each process begins with the first
        with Client(config) as client:
            names.append(client.whoami().principal)
    with pytest.raises(AssertionRefused, match="used before"), Client(config) as client:
        client.whoami()

    assert names == ["ci-team"] * 3
    assert made[0] not in repr(config)


def test_a_token_is_exchanged_anew_before_it_ends(served, github, tmp_path):
    environ, seen = github
    config = _config(served.url, environ, tmp_path)
    with Client(config) as client:
        client.whoami()
        exchanged = cast(ExchangedToken, client._api._http.auth)
        exchanged._renew_at = float("-inf")

        assert client.whoami().principal == "ci-team"

    assert len(seen) == 2


def test_a_token_comes_before_what_a_ci_says(served, github, tmp_path):
    environ, seen = github

    with Client(_config(served.url, environ, tmp_path, DELTAREG_TOKEN=served.secret("olga"))) as client:
        assert client.whoami().principal == "olga"

    assert seen == []


def test_why_no_token_is_given_is_said_where_one_is_needed(served, tmp_path):
    environ = {"DELTAREG_ID_TOKEN": served.issuer.sign(documented("github", aud=served.url, repository_id="75"))}

    with (
        pytest.raises(AssertionRefused, match="no trust here accepts"),
        Client(_config(served.url, environ, tmp_path)) as client,
    ):
        client.whoami()


def test_nothing_is_exchanged_with_a_server_that_only_a_folder_names(served, github, tmp_path):
    environ, seen = github
    (tmp_path / "deltareg.toml").write_text(f'server = "{served.url}"\n')
    config = _config("", environ, tmp_path)

    with pytest.raises(Misconfigured, match="names the server"), Client(config) as client:
        client.whoami()

    assert seen == []


def test_nothing_is_exchanged_in_the_clear(tmp_path):
    seen = []

    def answer(request):
        seen.append(str(request.url))
        return httpx.Response(
            401, json={"type": "", "title": "", "status": 401, "detail": "x", "code": "unauthenticated"}
        )

    config = _config("http://registry.example", {"DELTAREG_ID_TOKEN": "a.b.c"}, tmp_path)
    with (
        pytest.raises(Misconfigured, match="plain http"),
        Client(config, transport=httpx.MockTransport(answer)) as client,
    ):
        client.whoami()

    assert seen == ["http://registry.example/api/v1/whoami"]


def test_a_server_of_the_release_before_says_that_a_token_is_needed(tmp_path):
    def answer(request):
        status, code = (404, "not_found") if request.url.path.endswith(":exchange") else (401, "unauthenticated")
        problem = {"type": "", "title": "", "status": status, "detail": "this needs a token", "code": code}
        return httpx.Response(status, json=problem)

    config = _config("https://registry.example", {"DELTAREG_ID_TOKEN": "a.b.c"}, tmp_path)

    with (
        pytest.raises(Unauthenticated, match="needs a token"),
        Client(config, transport=httpx.MockTransport(answer)) as client,
    ):
        client.whoami()


def test_outside_of_a_job_nothing_changes():
    assert AssertionSource.read({"CI": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": "https://x"}) is None
    assert ClientConfig().assertions is None
