"""A channel's name in vLLM: one constant name, which means what the channel serves after each move."""

import hashlib
import logging
import threading

import httpx
import pytest

from deltareg.client.follow.by_name import watching
from deltareg.client.follow.by_name.finding import ByNameOptions
from deltareg.integrations.vllm import ChannelNames, resolver
from deltareg.integrations.vllm.library import load_library
from deltareg.integrations.vllm.resolver import make_resolver
from deltareg.integrations.vllm.surroundings import read_keys
from tests.client.agents import DELTAS, LINE, PROD
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES, serving
from tests.fixtures.vllm_stub import BASE_MODEL, VllmStub, make_app

BASE = str(SAMPLES / "bases" / "tinyllama")


def digest_of(delta):
    return hashlib.sha256((DELTAS / delta / "adapter_model.safetensors").read_bytes()).hexdigest()


RIGHT = {1: digest_of("lora"), 2: digest_of("lora_v2")}


@pytest.fixture
def maker(local_registry):
    """Put v1 and then v2 of `team/lora` on prod."""
    return local_registry.line("lora", "lora_v2")


@pytest.fixture
def keys():
    return []


@pytest.fixture
def vllm(keys):
    """Run a vLLM that was started with the middleware; gives its state."""
    stub = VllmStub(base=BASE)
    app = make_app(stub)
    app.add_middleware(ChannelNames, keys=keys)
    with serving(app) as url:
        stub.url = url
        yield stub


@pytest.fixture
def plug(vllm, vllm_library, local_registry, maker, tmp_path, caplog):
    """Start a vLLM with the plug-in; gives how to start another one beside it."""
    caplog.set_level(logging.INFO, "deltareg")
    opened = []

    def start(*, server=None):
        client = local_registry.client(("read",), principal="host", server=server or local_registry.url, retries=0)
        by_name = client.fleet.by_name(ByNameOptions(tmp_path / "by-name", 1 << 30, engine="vllm"), url=vllm.url)
        opened.append(by_name)
        vllm.resolvers[:] = [make_resolver(load_library(), by_name)]

    start()
    yield start
    for by_name in opened:
        by_name.close()


def ask(vllm, name=PROD, *, headers=None, **more):
    return httpx.post(f"{vllm.url}/v1/completions", json={"model": name, **more}, headers=headers, verify=False)


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
    assert vllm.names() == [model, f"{PROD}#3"]


def test_what_is_in_flight_is_answered_by_the_version_it_began_with(vllm, plug, maker, caplog):
    ask(vllm)
    held = threading.Thread(target=lambda: answers.append(ask(vllm, is_held=True)))
    answers: list[object] = []
    held.start()
    until(lambda: vllm.held, "it is in flight")
    maker.rollback(LINE, "prod")
    until(is_moved(caplog, 1), "v1 is served")
    after = text_of(ask(vllm))
    vllm.release()
    held.join()

    assert after == RIGHT[1]
    assert text_of(answers[0]) == RIGHT[2]
    assert not [call for call in vllm.calls if call[0] == "unload"]


def test_a_version_that_cannot_be_served_leaves_the_one_before(vllm, plug, maker, local_registry, caplog):
    assert text_of(ask(vllm)) == RIGHT[2]
    maker.push(DELTAS / "lora_dora", LINE, base="tinyllama")
    local_registry.verified(f"{LINE}:v3")
    maker.promote(f"{LINE}:v3", "prod")
    stays = f"{PROD} stays {LINE}:v2, as {LINE}:v3 is not served: "
    until(lambda: any(line.startswith(stays) for line in caplog.messages), "it is told")

    assert text_of(ask(vllm)) == RIGHT[2]
    assert len([line for line in caplog.messages if line.startswith(stays)]) == 1
    maker.rollback(LINE, "prod", version=1)
    until(is_moved(caplog, 1), "v1 is served")
    assert text_of(ask(vllm)) == RIGHT[1]


def test_a_version_is_there_before_its_channel_moves(vllm, plug, maker, local_registry, break_network, caplog):
    proxy = break_network(local_registry.url)
    plug(server=proxy.url)
    assert text_of(ask(vllm)) == RIGHT[2]
    maker.rollback(LINE, "prod")
    until(is_moved(caplog, 1), "v1 is served")
    for _ in range(50):
        proxy.breaks(r".", "reset")

    assert text_of(ask(vllm)) == RIGHT[1]


def test_two_channels_of_a_line_move_by_themselves(vllm, plug, maker):
    assert text_of(ask(vllm)) == RIGHT[2]
    maker.promote(f"{LINE}:v1", "staging")
    staging = ask(vllm, f"{LINE}@staging").json()

    assert (staging["model"], staging["choices"][0]["text"]) == (f"{LINE}@staging#1", RIGHT[1])
    assert text_of(ask(vllm)) == RIGHT[2]


def test_what_is_no_channel_to_be_served_is_refused_with_the_reason(vllm, plug, maker, caplog):
    maker.channels.create(LINE, "empty")
    reasons = {f"{LINE}@empty": "empty serves nothing", f"{LINE}@nowhere": "nowhere", "other/line@prod": "other/line"}

    assert {ask(vllm, name).status_code for name in reasons for _ in range(2)} == {404}

    for name, told in reasons.items():
        (line,) = [line for line in caplog.messages if line.startswith(f"{name} is not served: ")]
        assert told in line


def test_what_is_sent_otherwise_reaches_vllm_as_it_was_sent(vllm, plug):
    url = f"{vllm.url}/v1/load_lora_adapter"
    strange = [b"", b"@", b"[1, 2]", b'{"model": 7, "x": "@"}', b'{"model": "a@b"']

    told = [httpx.post(url, content=body, headers={"Content-Type": "application/json"}) for body in strange]
    form = httpx.post(f"{vllm.url}/v1/load_lora_adapter", data={"model": PROD})

    assert {answer.status_code for answer in [*told, form]} == {400}
    assert vllm.calls == []


@pytest.mark.parametrize("keys", [["one", "two"]])
def test_nobody_without_vllms_key_has_the_registry_asked(vllm, plug, caplog):
    for headers in ({}, {"Authorization": "Bearer three"}, {"Authorization": "two"}):
        assert ask(vllm, headers=headers).status_code == 404
    asked = [line for line in caplog.messages if "team/lora@prod" in line and "--middleware" not in line]

    assert text_of(ask(vllm, headers={"Authorization": "bearer two"})) == RIGHT[2]
    assert asked == []


def test_a_revision_that_its_channel_left_is_unloaded_when_nobody_can_be_using_it(vllm, plug, maker, monkeypatch):
    monkeypatch.setattr(watching, "_DRAIN_S", 0.1)
    monkeypatch.setattr(watching, "FOLDERS_S", 0.05)
    monkeypatch.setattr(watching, "REGISTRY_S", 0.1)
    ask(vllm)
    maker.rollback(LINE, "prod")
    until(lambda: ask(vllm).json()["model"] == f"{PROD}#3", "v1 is served")

    until(lambda: vllm.names() == [f"{PROD}#3"], "the other is unloaded")


def test_a_vllm_without_the_plug_in_serves_as_it_did(vllm, monkeypatch):
    monkeypatch.setattr(resolver, "_made", [])

    assert ask(vllm, BASE_MODEL).status_code == ask(vllm).status_code == 404
    assert vllm.calls == []


def test_the_keys_are_those_that_vllm_was_started_with():
    assert read_keys({"VLLM_API_KEY": "env"}, ["--api-key", "one", "two", "--port", "7"]) == ["one", "two"]
    assert read_keys({"VLLM_API_KEY": "env"}, []) == ["env"]
    assert read_keys({}, []) == []
