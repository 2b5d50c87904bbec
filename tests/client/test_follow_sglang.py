"""Followers of the engine `sglang`: what it loads, what it says of its base, what it refuses."""

from contextlib import closing

import pytest

from deltareg.client.follow.opening import open_engine
from deltareg.client.follow.release import FollowedChannel
from deltareg.client.follow.sglang_server import SglangServer, token_of_sglang
from deltareg.errors import BaseMismatch, Conflict, InvalidInput, NotFound, Unavailable
from tests.client.agents import DELTAS, LINE, PROD, aliases, make_agent, reported, running_agent
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES

BASES = SAMPLES / "bases"
V1, V2 = "team--lora--v1", "team--lora--v2"


def once(host, folder, sglang, **options):
    return make_agent(host, folder, engine="sglang", url=sglang.url, drain_s=0, **options)[0].once()


def test_versions_are_swapped_under_names_of_their_own(sglang, host, maker, tmp_path):
    sglang.base = str(BASES / "tinyllama")

    with running_agent(host, tmp_path, engine="sglang", url=sglang.url):
        until(lambda: sglang.names() == [V2], "v2 is loaded")
        follower = reported(maker, 2)
        maker.rollback(LINE, "prod")
        until(lambda: aliases(tmp_path)[PROD]["served"] == V1, "v1 is served")
        until(lambda: sglang.names() == [V1], "v2 has drained")

    assert (follower.engine, follower.base) == ("sglang", "checked")
    assert sglang.calls == [("load", V2), ("load", V1), ("unload", V2)]


def test_the_base_is_the_one_that_its_model_info_names(sglang, host, tmp_path):
    (unchecked,) = once(host, tmp_path / "a", sglang)
    sglang.base = str(BASES / "tinyllama_other")
    with pytest.raises(BaseMismatch, match="its tensors differ"):
        once(host, tmp_path / "b", sglang)

    assert unchecked.base == "unchecked"
    assert [name for name in sglang.names() if sglang.adapters[name].startswith(str(tmp_path / "b"))] == []


def list_and_load(server):
    server.list_adapters()
    server.load("mine", DELTAS / "lora")


@pytest.mark.parametrize(
    ("change", "error", "fix"),
    [
        ({"is_lora_enabled": False}, InvalidInput, "--enable-lora, --max-lora-rank"),
        ({"max_lora_rank": 2}, InvalidInput, "larger --max-lora-rank"),
        ({"modules": frozenset({"o_proj"})}, InvalidInput, "--lora-target-modules"),
        ({"leaving": {"mine"}}, Unavailable, "once what uses it is answered"),
        ({"key": "secret"}, InvalidInput, "SGLANG_API_KEY"),
        ({"is_starting": True}, Unavailable, "wait until it is"),
    ],
)
def test_what_it_refuses_is_told_with_what_to_do(sglang, change, error, fix):
    for name, value in change.items():
        setattr(sglang, name, value)

    with pytest.raises(error) as refused, closing(SglangServer(sglang.url)) as server:
        list_and_load(server)

    assert fix in refused.value.fix
    assert "SGLang" in refused.value.message


def test_what_it_says_of_adapters_is_read_for_what_it_is(sglang):
    with closing(SglangServer(sglang.url)) as server:
        with pytest.raises(InvalidInput, match="support DoRA") as dora:
            server.load("mine", DELTAS / "lora_dora")
        with pytest.raises(InvalidInput, match="Repo id must") as unseen:
            server.load("mine", DELTAS / "nothing")
        server.load("mine", DELTAS / "lora")
        with pytest.raises(Conflict, match="already loaded"):
            server.load("mine", DELTAS / "lora")
        server.unload("mine")
        server.unload("mine")

    assert "deltareg materialize" in dora.value.fix
    assert "give it the same path" in unseen.value.fix
    assert sglang.names() == []


def test_the_key_is_taken_from_the_environment(sglang, monkeypatch):
    sglang.key = "secret"
    monkeypatch.setenv("SGLANG_API_KEY", "secret")

    with closing(SglangServer(sglang.url, token=token_of_sglang())) as server:
        assert server.list_adapters().bases == {"tinyllama"}


def test_what_is_no_sglang_is_named(vllm, tmp_path):
    followed = [FollowedChannel.parse(PROD)]

    with pytest.raises(InvalidInput, match="is no SGLang server"), closing(SglangServer(vllm.url)) as server:
        server.list_adapters()
    with pytest.raises(NotFound, match="has no /load_lora_adapter") as off, closing(SglangServer(vllm.url)) as server:
        server.load("mine", DELTAS / "lora")
    assert "--enable-lora" in off.value.fix
    with pytest.raises(InvalidInput, match="needs its address") as refused:
        open_engine("sglang", followed, [tmp_path])
    assert refused.value.fix == "--url http://127.0.0.1:30000"
