"""Which version `main` is: before any verdict, after each, and once something was promoted."""

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import RevisionNotFoundError

from deltareg.client import Client
from tests.fixtures.registries import SAMPLES, SCOPES
from tests.hub.conftest import BASE, LORA, LORA_2, member

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LORA_3 = SAMPLES / "deltas" / "tinyllama" / "lora_qv"


@pytest.fixture
def owner(hub):
    """Push three versions of `team/main` that nobody has checked."""
    hub.step("three unchecked versions", lambda: _push_three(hub))
    with Client(hub._config(hub.token(*SCOPES, principal="owner"))) as client:
        yield client


def _push_three(hub):
    with Client(hub._config(hub.token(*SCOPES, principal="owner"))) as client:
        client.bases.push(BASE, "tinyllama")
        for folder in (LORA, LORA_2, LORA_3):
            client.push(folder, "team/main", base="tinyllama")
        for run in client.runs.list(state="queued"):
            client.runs.cancel(run.id)


@pytest.fixture
def main_of(hub):
    """Give the name of the version that is `main` by a token, the answer's tags and its warning."""

    def main_of(token):
        api = HfApi(endpoint=hub.url, token=token)
        info = api.model_info("team/main")
        commits = {api.model_info("team/main", revision=f"v{n}").sha: f"v{n}" for n in (1, 2, 3)}
        [branch] = [each for each in api.list_repo_refs("team/main").branches if each.name == "main"]
        [listed] = [each for each in api.list_models(author="team", full=True) if each.id == "team/main"]
        assert branch.target_commit == listed.sha == info.sha, "each answer means the same"
        assert api.file_exists("team/main", "adapter_config.json")
        return commits[info.sha]

    return main_of


def warning(hub, ask, token, revision="main"):
    answer = ask(hub, f"/api/models/team/main/revision/{revision}", token=token)
    return answer.headers.get("X-HF-Warning", "")


def tags(hub, token, revision="main"):
    return HfApi(endpoint=hub.url, token=token).model_info("team/main", revision=revision).tags


def by_each_token(hub):
    """Return tokens: of who pushed, to push and to read, and of somebody who only reads."""
    own = [hub.token(*scopes, principal="owner") for scopes in (("read", "push"), ("read",))]
    return *own, member(hub, "reader")


def test_before_any_verdict_it_is_what_one_pushed_and_nothing_for_others(hub, owner, main_of, ask):
    pushing, reading, other = by_each_token(hub)

    assert (main_of(pushing), main_of(reading)) == ("v3", "v3")
    assert "main of team/main is v3, the newest that owner pushed" in warning(hub, ask, reading)
    assert {"version:v3", "verdict:none"} <= {*tags(hub, reading)}
    with pytest.raises(RevisionNotFoundError, match="no version has passed its checks") as refused:
        HfApi(endpoint=hub.url, token=other).model_info("team/main")
    assert "deltareg verify team/main:v3 --wait" in str(refused.value)
    assert "or name a version: v3" in str(refused.value)
    assert tags(hub, other, "v3")


def test_what_passed_is_it_for_readers_until_something_is_promoted(hub, owner, main_of, ask):
    pushing, reading, other = by_each_token(hub)
    hub.verified("team/main:v1")
    hub.verified("team/main:v2")
    hub.verified("team/main:v3", verdict="fail")

    assert (main_of(pushing), main_of(reading), main_of(other)) == ("v3", "v2", "v2")
    assert "main of team/main is v2, the newest that passed its checks" in warning(hub, ask, other)
    assert "team/main:v3 failed its checks; the newest that passed is v2" in warning(hub, ask, pushing)
    assert {"version:v2", "verdict:pass"} <= {*tags(hub, other)}
    assert {"version:v3", "verdict:fail"} <= {*tags(hub, pushing)}

    owner.channels.promote("team/main:v1", channel="prod", reason="first")

    assert (main_of(pushing), main_of(reading), main_of(other)) == ("v3", "v1", "v1")
    assert warning(hub, ask, other) == ""


def test_what_failed_or_is_revoked_is_it_for_no_reader(hub, owner, main_of, ask):
    pushing, reading, other = by_each_token(hub)
    hub.verified("team/main:v2", verdict="fail")
    owner.versions.revoke("team/main:v3", reason="leaks")

    assert (main_of(pushing), main_of(reading)) == ("v3", "v1")
    assert "team/main:v3 is revoked by owner" in warning(hub, ask, pushing)
    hub.verified("team/main:v1", verdict="fail")
    for token in (reading, other):
        with pytest.raises(RevisionNotFoundError, match="no version has passed its checks"):
            HfApi(endpoint=hub.url, token=token).model_info("team/main")
    assert "team/main:v2 failed its checks" in warning(hub, ask, other, "v2")
    assert {"verdict:none", "revoked"} <= {*tags(hub, other, "v3")}


def test_a_verdict_that_decides_nothing_is_no_pass(hub, owner, main_of):
    _, reading, other = by_each_token(hub)
    hub.verified("team/main:v3", verdict="inconclusive")

    assert main_of(reading) == "v3"
    assert {"verdict:inconclusive"} <= {*tags(hub, reading)}
    with pytest.raises(RevisionNotFoundError):
        main_of(other)


def test_the_newest_verdict_counts_and_what_is_deprecated_is_told(hub, owner, main_of, ask):
    other = member(hub, "reader")
    hub.verified("team/main:v2", verdict="fail")
    hub.verified("team/main:v2", again=True)
    owner.versions.deprecate("team/main:v2", reason="slow", successor="team/main:v3")

    assert main_of(other) == "v2"
    assert "team/main:v2 is deprecated by owner: slow; use team/main:v3" in warning(hub, ask, other)
    assert "deprecated" in tags(hub, other)


def test_once_promoted_it_is_what_prod_serves(hub, owner, main_of):
    """Who reads gets that, whatever passed since."""
    other = member(hub, "reader")
    hub.verified("team/main:v1")
    owner.channels.promote("team/main:v1", channel="prod", reason="first")
    hub.verified("team/main:v2")

    assert main_of(other) == "v1"


def test_the_list_is_filtered_by_what_is_said_of_versions(hub, owner):
    hub.verified("team/main:v3", verdict="fail")
    api = HfApi(endpoint=hub.url, token=hub.token("read", principal="owner"))

    def listed(tag):
        return [each.id for each in api.list_models(filter=tag)]

    assert listed("verdict:fail") == listed("version:v3") == ["team/main"]
    assert listed("verdict:pass") == listed("revoked") == []
