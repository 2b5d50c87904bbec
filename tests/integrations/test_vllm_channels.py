"""A channel's name in vLLM: one constant name, which means what the channel serves after each move."""

import hashlib
import logging

import httpx
import pytest

from deltareg.client.follow.by_name.finding import ByNameOptions
from deltareg.integrations.vllm.library import load_library
from deltareg.integrations.vllm.resolver import make_resolver
from tests.client.agents import DELTAS, LINE, PROD
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES

BASE = str(SAMPLES / "bases" / "tinyllama")


def digest_of(delta):
    return hashlib.sha256((DELTAS / delta / "adapter_model.safetensors").read_bytes()).hexdigest()


RIGHT = {1: digest_of("lora"), 2: digest_of("lora_v2")}


@pytest.fixture
def maker(local_registry):
    """Put v1 and then v2 of `team/lora` on prod."""
    return local_registry.line("lora", "lora_v2")


@pytest.fixture
def plug(vllm, vllm_library, local_registry, maker, tmp_path, caplog):
    """Start a vLLM with the plug-in; gives how to start another one beside it."""
    caplog.set_level(logging.INFO, "deltareg")
    opened = []

    def start(*, url=vllm.url, server=None):
        client = local_registry.client(("read",), principal="host", server=server or local_registry.url, retries=0)
        by_name = client.fleet.by_name(ByNameOptions(tmp_path / "by-name", 1 << 30, engine="vllm"), url=url)
        opened.append(by_name)
        vllm.resolvers[:] = [make_resolver(load_library(), by_name)]

    vllm.base = BASE
    start()
    yield start
    for by_name in opened:
        by_name.close()


def ask(vllm, name=PROD, **more):
    return httpx.post(f"{vllm.url}/v1/completions", json={"model": name, **more}, verify=False)


def text_of(answer):
    return answer.raise_for_status().json()["choices"][0]["text"]


def is_moved(caplog, version):
    return lambda: f"{PROD} is {LINE}:v{version} from the next request on" in caplog.messages


def test_one_name_means_what_the_channel_serves_after_each_move(vllm, plug, maker, caplog):
    assert text_of(ask(vllm)) == RIGHT[2]

    for _ in range(3):
        maker.rollback(LINE, "prod")
        until(is_moved(caplog, 1), "v1 is served")
        answers = {text_of(ask(vllm)) for _ in range(3)}
        caplog.clear()
        maker.channels.clear_quarantine(LINE, "prod", 2, reason="for the test")
        maker.promote(f"{LINE}:v2", "prod")
        until(is_moved(caplog, 2), "v2 is served")
        answers_again = {text_of(ask(vllm)) for _ in range(3)}
        caplog.clear()

        assert answers == {RIGHT[1]}
        assert answers_again == {RIGHT[2]}


def test_the_answer_says_which_revision_gave_it_and_that_name_is_good_for_ever(vllm, plug, maker, caplog):
    model = ask(vllm).json()["model"]
    maker.rollback(LINE, "prod")
    until(is_moved(caplog, 1), "v1 is served")

    assert model == f"{PROD}#2"
    assert text_of(ask(vllm, model)) == RIGHT[2]
    assert ask(vllm).json()["model"] == f"{PROD}#3"
    assert vllm.names() == [PROD, model]


def test_no_prefix_of_one_version_is_used_for_another(vllm, plug, maker, caplog):
    ask(vllm)
    maker.rollback(LINE, "prod")
    until(is_moved(caplog, 1), "v1 is served")
    ask(vllm)

    assert {name for name, _ in vllm.prefix_cache} == {f"{PROD}#2", f"{PROD}#3"}
    assert len({path for _, path in vllm.prefix_cache}) == 2


def test_a_version_that_cannot_be_served_leaves_the_one_before(vllm, plug, maker, local_registry, caplog):
    assert text_of(ask(vllm)) == RIGHT[2]
    maker.push(DELTAS / "lora_dora", LINE, base="tinyllama")
    local_registry.verified(f"{LINE}:v3")
    maker.promote(f"{LINE}:v3", "prod")
    stays = f"{PROD} stays {LINE}:v2, and {LINE}:v3 is not served: "
    until(lambda: any(line.startswith(stays) for line in caplog.messages), "it is told")

    assert text_of(ask(vllm)) == RIGHT[2]
    assert len([line for line in caplog.messages if line.startswith(stays)]) == 1
    maker.rollback(LINE, "prod", version=1)
    until(is_moved(caplog, 1), "v1 is served")
    assert text_of(ask(vllm)) == RIGHT[1]


def test_a_registry_that_is_away_ends_nothing(vllm, plug, local_registry, break_network):
    proxy = break_network(local_registry.url)
    plug(server=proxy.url)
    assert text_of(ask(vllm)) == RIGHT[2]
    for _ in range(20):
        proxy.breaks(r".", "reset")

    vllm.adapters.clear()

    assert text_of(ask(vllm)) == RIGHT[2]


def test_a_vllm_that_cannot_be_told_to_forget_is_given_no_name_that_moves(vllm, plug, caplog):
    plug(url="http://127.0.0.1:9")

    assert ask(vllm).status_code == 404
    assert text_of(ask(vllm, f"{LINE}:v2")) == RIGHT[2]
    assert "so nothing can be unloaded; DELTAREG_VLLM_URL names the address" in caplog.text


def test_one_that_vllm_does_not_let_go_of_is_told_of_once_and_moves_later(vllm, plug, maker, caplog):
    ask(vllm)
    vllm.stuck.add(PROD)
    maker.rollback(LINE, "prod")
    kept = f"{PROD} is what it was until vLLM lets go of it: "
    until(lambda: any(line.startswith(kept) for line in caplog.messages), "it is told")
    until(lambda: vllm.calls.count(("unload", PROD)) > 1, "it is tried again")
    vllm.stuck.clear()
    until(is_moved(caplog, 1), "v1 is served")

    assert text_of(ask(vllm)) == RIGHT[1]
    assert len([line for line in caplog.messages if line.startswith(kept)]) == 1


def test_two_channels_of_a_line_move_by_themselves(vllm, plug, maker, caplog):
    assert text_of(ask(vllm)) == RIGHT[2]
    maker.promote(f"{LINE}:v1", "staging")
    staging = ask(vllm, f"{LINE}@staging").json()

    assert (staging["model"], staging["choices"][0]["text"]) == (f"{LINE}@staging#1", RIGHT[1])
    assert text_of(ask(vllm)) == RIGHT[2]
    assert vllm.names() == [PROD, f"{LINE}@staging"]
