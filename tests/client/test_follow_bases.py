"""Agents hold what an engine serves against the base that a version is for."""

import json
import shutil

import pytest

from deltareg.client.follow.release import Release, belongs_to, read_folder_name
from deltareg.digest import Digest
from deltareg.errors import BaseMismatch, InvalidInput
from deltareg.refs import LineRef
from tests.client.agents import DELTAS, LINE, PROD, SCOPES, aliases, make_agent, reported, running_agent, served_version
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES

BASES = SAMPLES / "bases"
V1, V2 = "team--lora--v1", "team--lora--v2"


def once(host, folder, vllm, **options):
    return make_agent(host, folder, engine="vllm", url=vllm.url, drain_s=0, **options)[0].once()


@pytest.fixture
def retokenized(tmp_path):
    """Give the base with the same tensors and another tokenizer."""
    folder = tmp_path / "retokenized"
    shutil.copytree(BASES / "tinyllama", folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": "{{ messages }}"}))
    return folder


def test_an_engine_that_starts_on_another_base_gets_nothing_until_it_has_the_right_one(vllm, host, maker, tmp_path):
    vllm.base = str(BASES / "tinyllama")
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url):
        until(lambda: vllm.names() == [V2], "v2 is loaded")
        assert reported(maker, 2).base == "checked"
        assert aliases(tmp_path)[PROD]["base"] == "checked"

        vllm.restart(base=str(BASES / "tinyllama_other"))
        follower = reported(maker, None, "failed")
        assert vllm.names() == []
        assert aliases(tmp_path) == {}

        vllm.restart(base=str(BASES / "tinyllama"))
        until(lambda: vllm.names() == [V2], "v2 is loaded again")
        assert reported(maker, 2).base == "checked"

    assert (follower.base, follower.drift) == ("wrong", "failed")
    assert "tinyllama_other, which is not tinyllama, the base of team/lora:v2" in follower.error
    assert "its tensors differ" in follower.error


def test_what_runs_on_a_wrong_base_already_is_unloaded(vllm, host, tmp_path):
    once(host, tmp_path, vllm)
    vllm.base = str(BASES / "tinyllama_other")

    with pytest.raises(BaseMismatch) as refused:
        once(host, tmp_path, vllm)

    assert vllm.names() == []
    assert refused.value.exit_code == 7
    assert "start it with the folder that holds tinyllama" in refused.value.fix


def test_another_tokenizer_is_another_base(vllm, host, tmp_path, retokenized):
    vllm.base = str(retokenized)

    with pytest.raises(BaseMismatch, match="the same tensors; tokenizer differs"):
        once(host, tmp_path / "own", vllm)

    assert vllm.names() == []


def test_a_base_that_is_not_here_is_the_one_that_the_user_names(vllm, host, tmp_path):
    vllm.base = "org/tinyllama"

    (unchecked,) = once(host, tmp_path / "a", vllm)
    (checked,) = once(host, tmp_path / "b", vllm, base=BASES / "tinyllama")
    with pytest.raises(BaseMismatch):
        once(host, tmp_path / "c", vllm, base=BASES / "tinyllama_other")
    with pytest.raises(InvalidInput, match="is no base"):
        once(host, tmp_path / "d", vllm, base=tmp_path)

    assert (unchecked.base, checked.base) == ("unchecked", "checked")


def test_what_was_named_counts_for_what_was_served_then(vllm, host, maker, tmp_path):
    vllm.base = "org/tinyllama"
    options = {"engine": "vllm", "url": vllm.url, "base": BASES / "tinyllama"}
    with running_agent(host, tmp_path, **options):
        assert reported(maker, 2).base == "checked"
        vllm.restart(base="org/other")
        follower = reported(maker, None, "failed")

    assert "org/other now, and served org/tinyllama" in follower.error


def test_a_folder_says_nothing_of_its_base_but_the_user_may(host, tmp_path):
    (unchecked,) = make_agent(host, tmp_path)[0].once()
    (checked,) = make_agent(host, tmp_path, base=BASES / "tinyllama")[0].once()
    assert served_version(tmp_path) == 2
    with pytest.raises(BaseMismatch):
        make_agent(host, tmp_path, base=BASES / "tinyllama_other")[0].once()

    assert (unchecked.base, checked.base) == ("unchecked", "checked")
    assert served_version(tmp_path) is None


def test_an_old_version_that_is_for_the_base_stays_when_a_new_one_is_not(vllm, host, maker, local_registry, tmp_path):
    maker.rollback(LINE, "prod")
    vllm.base = str(BASES / "tinyllama")
    once(host, tmp_path / "own", vllm)
    maker.bases.push(BASES / "tinyllama_other", "other")
    maker.push(DELTAS / "lora", LINE, base="other", message="for another base")
    local_registry.verified(f"{LINE}:v3")
    maker.promote(f"{LINE}:v3", "prod", new_base=True)

    with pytest.raises(BaseMismatch):
        once(host, tmp_path / "own", vllm)

    assert vllm.names() == [V1]
    assert aliases(tmp_path / "own")[PROD]["version"] == 1


def test_a_wrong_base_is_known_while_the_registry_is_away(vllm, local_registry, maker, tmp_path, break_network):
    proxy = break_network(local_registry.url)
    host = local_registry.client(SCOPES, principal="host", server=proxy.url, retries=0)
    vllm.base = str(BASES / "tinyllama")
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url) as events:
        until(lambda: vllm.names() == [V2], "v2 is loaded")
        for _ in range(200):
            proxy.breaks(r".", "reset")
        vllm.restart(base=str(BASES / "tinyllama_other"))
        until(lambda: events[-1].observed.base == "wrong", "it is seen")

    assert vllm.names() == []
    assert [call for call, _ in vllm.calls] == ["load"]


def test_names_of_adapters_are_only_one_versions():
    digests = [Digest("sha256", character * 64) for character in "ab"]
    lines = ["a--b/c", "a/b--c", "a/b", "a/b---c", "a/b--v1", "a--b/v1"]
    releases = [
        Release(LineRef(*line.split("/")), version, digest)
        for line in lines
        for version in (1, 11)
        for digest in digests
    ]

    names = [release.folder for release in releases]

    assert len(set(names)) == len(names)
    assert Release(LineRef("a", "b"), 1, digests[0]).names == ("a--b--v1", "a--b--v1-" + "a" * 12)
    assert len(Release(LineRef("a--b", "c"), 1, digests[0]).names) == 1
    for release in releases:
        assert belongs_to(release.folder, release.line)
        kept = read_folder_name(release.folder)
        assert kept is None or str(kept) == release.ref
