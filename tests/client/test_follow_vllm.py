"""Followers of the engine `vllm`: names used once, swaps under load, refusals, restarts."""

import asyncio
import hashlib
import threading

import httpx
import pytest

from deltareg.errors import InvalidInput, NotFound, Unavailable
from tests.client.agents import DELTAS, LINE, PROD, SCOPES, aliases, make_agent, reported, running_agent
from tests.fixtures.processes import until
from tests.fixtures.vllm_stub import Adapter

V1, V2 = "team--lora--v1", "team--lora--v2"


def digest_of(delta):
    return hashlib.sha256((DELTAS / delta / "adapter_model.safetensors").read_bytes()).hexdigest()


DIGESTS = {V1: digest_of("lora"), V2: digest_of("lora_v2")}


def ask(vllm, name):
    return httpx.post(f"{vllm.url}/v1/completions", json={"model": name}, verify=False)


def promote_again(maker):
    maker.channels.clear_quarantine(LINE, "prod", 2, reason="for the test")
    maker.promote(f"{LINE}:v2", "prod")


def test_a_version_is_loaded_under_a_name_of_its_own(vllm, host, maker, tmp_path):
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url):
        until(lambda: vllm.names() == [V2], "v2 is loaded")
        reported(maker, 2)
        assert aliases(tmp_path)[PROD]["served"] == V2
        assert ask(vllm, V2).json()["choices"][0]["text"] == DIGESTS[V2]

        maker.rollback(LINE, "prod")
        until(lambda: aliases(tmp_path)[PROD]["served"] == V1, "v1 is served")
        assert ask(vllm, V1).json()["choices"][0]["text"] == DIGESTS[V1]
        until(lambda: vllm.names() == [V1], "v2 has drained")

    assert vllm.calls == [("load", V2), ("load", V1), ("unload", V2)]


def test_a_rollback_before_the_old_version_has_drained_loads_nothing(vllm, host, maker, tmp_path):
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url, drain_s=60):
        until((tmp_path / "serving.json").exists, "v2 is served")
        maker.rollback(LINE, "prod")
        until(lambda: aliases(tmp_path)[PROD]["served"] == V1, "v1 is served")
        promote_again(maker)
        until(lambda: aliases(tmp_path)[PROD]["served"] == V2, "v2 is served again")

    assert vllm.calls == [("load", V2), ("load", V1)]


def opened(vllm, connections):
    limits = httpx.Limits(max_connections=connections)
    return httpx.AsyncClient(base_url=vllm.url, limits=limits, timeout=90, verify=False)


async def ask_for(http, name, *, is_held=False):
    """Send a request, and give the answer in a list unless it is what it should be."""
    answer = await http.post("/v1/completions", json={"model": name, "is_held": is_held})
    text = answer.json()["choices"][0]["text"] if answer.is_success else answer.text
    is_right = answer.is_success and text == DIGESTS[name]
    return [] if is_right else [(answer.status_code, name, text)]


async def ask_many(vllm, names):
    """Send a request for each name at once, to be held; give the wrong answers."""
    async with opened(vllm, len(names)) as http:
        found = await asyncio.gather(*(ask_for(http, name, is_held=True) for name in names))
    return [answer for answers in found for answer in answers]


async def ask_all_the_time(vllm, folder, stop, told, *, clients=5):
    """Send requests as clients do that read the alias file each time, and ask a moment later."""

    async def be_a_client(http):
        while not stop.is_set():
            name = aliases(folder)[PROD]["served"]
            await asyncio.sleep(0.1)
            told.extend(await ask_for(http, name))
            told[0] += 1

    async with opened(vllm, clients) as http:
        await asyncio.gather(*(be_a_client(http) for _ in range(clients)))


@pytest.mark.slow
@pytest.mark.parametrize("in_flight", [40, pytest.param(500, marks=pytest.mark.soak)])
def test_no_request_fails_while_versions_are_swapped(vllm, host, maker, tmp_path, in_flight):
    stop, told, failed = threading.Event(), [0], []
    steady = threading.Thread(target=lambda: asyncio.run(ask_all_the_time(vllm, tmp_path, stop, told)))
    options = {"drain_s": 4.0, "keep": 0, "interval_s": 0.2}
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url, **options):
        until((tmp_path / "serving.json").exists, "v2 is served")
        steady.start()
        try:
            for before, after in ((V2, V1), (V1, V2)):
                flight = threading.Thread(
                    target=lambda name: failed.extend(asyncio.run(ask_many(vllm, [name] * in_flight))), args=[before]
                )
                flight.start()
                until(lambda: len(vllm.held) == in_flight, "all are in flight")
                _ = maker.rollback(LINE, "prod") if after == V1 else promote_again(maker)
                until(lambda: vllm.names() == [after], "the old one is unloaded")  # noqa: B023
                assert len(vllm.held) == in_flight
                vllm.release()
                flight.join(60)
                assert not flight.is_alive()
        finally:
            vllm.release()
            stop.set()
            steady.join(60)

    assert failed == []
    assert told[1:] == []
    assert told[0] > 0
    assert [call for call, _ in vllm.calls].count("unload") == 2


def test_what_vllm_refuses_is_reported_and_the_old_version_stays(vllm, host, maker, tmp_path):
    maker.rollback(LINE, "prod")
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url):
        until(lambda: vllm.names() == [V1], "v1 is loaded")
        vllm.max_lora_rank = 1
        promote_again(maker)
        follower = reported(maker, 1, "failed")
        assert vllm.names() == [V1]
        vllm.max_lora_rank = 16
        until(lambda: V2 in vllm.names(), "v2 is loaded after all")

    assert "LoRA rank" in follower.error
    assert "max_lora_rank 1" in follower.error


def test_a_server_that_started_again_gets_its_adapter_again(vllm, host, tmp_path):
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url):
        until(lambda: vllm.names() == [V2], "v2 is loaded")
        vllm.is_down = True
        vllm.forget()
        vllm.is_down = False
        until(lambda: vllm.names() == [V2], "v2 is loaded again")


def test_an_agent_that_starts_again_ends_what_the_one_before_left(vllm, host, maker, tmp_path):
    make_agent(host, tmp_path, engine="vllm", url=vllm.url)[0].once()
    maker.rollback(LINE, "prod")

    make_agent(host, tmp_path, engine="vllm", url=vllm.url)[0].once()

    assert vllm.names() == [V1]
    assert aliases(tmp_path)[PROD]["served"] == V1


def test_adapters_of_others_are_left_alone(vllm, host, tmp_path):
    other = Adapter("mine", tmp_path / "elsewhere", "")
    vllm.adapters["mine"] = other

    make_agent(host, tmp_path / "own", engine="vllm", url=vllm.url, drain_s=0)[0].once()

    assert vllm.names() == ["mine", V2]


def test_agents_and_an_operator_share_a_server_and_have_nothing_to_say_at_rest(
    vllm, local_registry, host, maker, tmp_path, caplog
):
    maker.promote(f"{LINE}:v1", "staging")
    theirs = {
        V1: tmp_path / "by-hand" / "prod",
        "mine": tmp_path / "gone" / "versions" / "team--lora--v7-0123456789ab",
        "other--line--v1": tmp_path / "gone" / "versions" / "other--line--v1-0123456789ab",
        "no-path": "",
    }
    vllm.adapters.update({name: Adapter(name, path, "") for name, path in theirs.items()})
    other = local_registry.client(SCOPES, principal="other")
    one, two = tmp_path / "one", tmp_path / "two"

    with (
        running_agent(host, one, engine="vllm", url=vllm.url),
        running_agent(other, two, engine="vllm", url=vllm.url, channels=(PROD, "team/lora@staging"), agent="other"),
    ):
        until(lambda: is_served(one, PROD) and is_served(two, PROD, "team/lora@staging"), "all is served")
        seen = len(vllm.looks)
        caplog.clear()
        until(lambda: len(vllm.looks) > seen + 100, "both have looked many times", timeout_s=30)
        lines = caplog.messages.copy()
        maker.rollback(LINE, "prod")
        until(lambda: aliases(one)[PROD]["version"] == aliases(two)[PROD]["version"] == 1, "both have moved")
        until(lambda: not any(name.startswith(V2) for name in vllm.names()), "what both had has drained")

    assert [line for line in lines if "HTTP Request" not in line] == []
    assert {call[1] for call in vllm.calls if call[0] == "unload"} & set(theirs) == set()
    assert theirs.keys() <= set(vllm.names())
    assert not list(two.glob("versions/*v7*")) + list(one.glob("versions/other*"))


def is_served(folder, *channels):
    return (folder / "serving.json").exists() and set(channels) <= aliases(folder).keys()


def test_a_name_that_somebody_else_has_is_left_to_them(vllm, host, maker, tmp_path):
    other = Adapter(V2, tmp_path / "elsewhere", "")
    vllm.adapters[V2] = other

    make_agent(host, tmp_path / "own", engine="vllm", url=vllm.url, drain_s=0)[0].once()

    served = aliases(tmp_path / "own")[PROD]["served"]
    assert served == f"{V2}-{maker.show(f'{LINE}:v2').digest.removeprefix('sha256:')[:12]}"
    assert vllm.adapters[V2] is other
    assert vllm.names() == [V2, served]


def test_a_server_without_runtime_updates_is_named_with_what_turns_them_on(closed_vllm, host, tmp_path):
    with pytest.raises(NotFound) as refused:
        make_agent(host, tmp_path, engine="vllm", url=closed_vllm.url)[0].once()

    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in refused.value.fix


def test_a_server_that_is_not_there_is_named(host, tmp_path):
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 does not answer"):
        make_agent(host, tmp_path, engine="vllm", url="http://127.0.0.1:9")[0].once()
    with pytest.raises(InvalidInput, match="needs its address"):
        make_agent(host, tmp_path, engine="vllm")
    with pytest.raises(InvalidInput, match="one folder"):
        make_agent(host, tmp_path, tmp_path / "b", engine="vllm", url="http://127.0.0.1:9")


def test_two_channels_on_one_version_share_an_adapter(vllm, host, maker, tmp_path):
    maker.promote(f"{LINE}:v2", "staging")
    both = (PROD, "team/lora@staging")

    with running_agent(host, tmp_path, engine="vllm", url=vllm.url, channels=both, drain_s=0):
        until((tmp_path / "serving.json").exists, "one is served")
        until(lambda: len(aliases(tmp_path)) == 2, "both are served")
        maker.rollback(LINE, "prod")
        until(lambda: vllm.names() == [V1, V2], "v1 is loaded beside v2")
        until(lambda: aliases(tmp_path)[PROD]["served"] == V1, "v1 is served")

    assert aliases(tmp_path)["team/lora@staging"]["served"] == V2
    assert vllm.names() == [V1, V2]
