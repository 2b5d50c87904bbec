"""Followers of the engine `llamacpp`: files, options, scales, starts."""

import shlex
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from deltareg.client.follow.llamacpp_engine import LlamaEngine, LlamaOptions
from deltareg.errors import BaseMismatch, Conflict, InvalidInput, Unavailable
from tests.client.agents import LINE, PROD, aliases, make_agent, reported, running_agent
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES

BASES = SAMPLES / "bases"
V1, V2 = "team--lora--v1", "team--lora--v2"


def options_of(host, **more):
    def convert(folder, to):
        base = str(BASES / "tinyllama")
        return host.folders.convert(folder, to, base=base, layout="gguf")

    return LlamaOptions(convert, **more)


def once(host, folder, llama, *, base="tinyllama", **more):
    options = {"engine": "llamacpp", "url": llama.url, "llama": options_of(host, **more)}
    return make_agent(host, folder, base=BASES / base, **options)[0].once()


def start(llama, home):
    llama.start((home / "lora.args").read_text())


def test_what_the_server_was_not_started_with_takes_a_start(llama, host, tmp_path):
    with pytest.raises(Conflict, match=r"does not serve team--lora--v2.*: it was not started with it") as refused:
        once(host, tmp_path, llama)
    assert f"llama-server -m … $(cat {tmp_path / 'lora.args'})" in refused.value.fix

    start(llama, tmp_path)
    (found,) = once(host, tmp_path, llama)

    assert llama.applied() == {V2: 1}
    assert llama.posts == []  # its options have applied it
    assert (found.version, found.base) == (2, "checked")
    assert aliases(tmp_path)[PROD]["served"] == V2


@pytest.fixture
def loaded(llama, host, maker, tmp_path):
    """Start the server with both versions, v2 applied."""
    maker.rollback(LINE, "prod")
    with pytest.raises(Conflict):
        once(host, tmp_path, llama)
    maker.channels.clear_quarantine(LINE, "prod", 2, reason="for the test")
    maker.promote(f"{LINE}:v2", "prod")
    with pytest.raises(Conflict):
        once(host, tmp_path, llama)
    start(llama, tmp_path)
    assert llama.applied() == {V1: 0, V2: 1}
    return llama


def test_a_rollback_to_what_is_loaded_is_a_change_of_scales_where_no_prompts_are_kept(loaded, host, maker, tmp_path):
    loaded.keeps_prompts = False

    maker.rollback(LINE, "prod")
    once(host, tmp_path, loaded)

    assert loaded.applied() == {V1: 1, V2: 0}


def test_a_server_that_keeps_prompts_has_to_be_started_again(loaded, host, maker, tmp_path):
    maker.rollback(LINE, "prod")

    with pytest.raises(Conflict, match="it keeps prompts, and would answer them as before"):
        once(host, tmp_path, loaded)

    assert loaded.applied() == {V1: 0, V2: 1}
    start(loaded, tmp_path)
    once(host, tmp_path, loaded)
    assert loaded.applied() == {V1: 1, V2: 0}


def test_what_may_not_be_served_is_taken_off_a_server_that_keeps_prompts_by_a_start(loaded, host, tmp_path):
    asked = tmp_path / "asked"
    restart = shlex.join([sys.executable, "-I", "-S", "-c", f"open({str(asked)!r}, 'a').write('again\\n')"])

    with pytest.raises(BaseMismatch):
        once(host, tmp_path, loaded, base="tinyllama_other", restart=restart)

    assert loaded.applied() == {V1: 0, V2: 0}
    assert asked.exists()
    assert ":1" not in (tmp_path / "lora.args").read_text()


def test_adapters_of_others_keep_their_scales(llama, host, maker, tmp_path):
    with pytest.raises(Conflict):
        once(host, tmp_path, llama)
    start(llama, tmp_path)
    llama.keeps_prompts = False
    llama.adapters[0]["scale"] = 0.0
    llama.adapters.append({"id": 1, "path": "/elsewhere/style.gguf", "scale": 0.4})

    once(host, tmp_path, llama)

    assert [each["scale"] for each in llama.adapters] == [1, 0.4]


def test_it_is_started_again_by_the_command_that_is_named(llama, host, maker, tmp_path):
    home, asked = tmp_path / "own", tmp_path / "asked"
    restart = shlex.join([sys.executable, "-I", "-S", "-c", f"open({str(asked)!r}, 'a').write('again\\n')"])
    options = {"llama": options_of(host, restart=restart), "base": BASES / "tinyllama"}
    with running_agent(host, home, engine="llamacpp", url=llama.url, **options):
        until(asked.exists, "it was asked to start")
        assert not (home / "serving.json").exists()
        start(llama, home)
        follower = reported(maker, 2)

        maker.rollback(LINE, "prod")
        until(lambda: asked.read_text() == "again\n" * 2, "it was asked to start again")
        assert llama.applied() == {V2: 1}  # the version before stays until then
        start(llama, home)
        reported(maker, 1)

    assert follower.engine == "llamacpp"
    assert llama.applied() == {V1: 1, V2: 0}


def test_a_server_that_was_started_without_them_is_given_the_right_one_again(llama, host, maker, tmp_path):
    with pytest.raises(Conflict):
        once(host, tmp_path, llama)
    start(llama, tmp_path)
    llama.keeps_prompts = False
    options = {"llama": options_of(host), "base": BASES / "tinyllama"}
    with running_agent(host, tmp_path, engine="llamacpp", url=llama.url, **options):
        reported(maker, 2)
        for each in llama.adapters:
            each["scale"] = 0.0
        until(lambda: llama.applied() == {V2: 1}, "it is applied again")


def test_of_another_base_nothing_is_applied(llama, host, tmp_path):
    with pytest.raises(Conflict):
        once(host, tmp_path, llama)
    start(llama, tmp_path)

    with pytest.raises(BaseMismatch):
        once(host, tmp_path, llama, base="tinyllama_other")

    assert llama.applied() == {V2: 0}


@pytest.mark.soak
def test_a_file_that_the_options_name_is_there_whenever_it_starts(llama, host, maker, tmp_path):
    for _ in range(2):
        with pytest.raises(Conflict):
            once(host, tmp_path, llama)
        maker.rollback(LINE, "prod") if maker.show(f"{LINE}@prod").version == 2 else None
    for folder in (tmp_path / "versions").iterdir():
        if folder.name.startswith(V2):
            folder.rename(tmp_path / "pruned")

    with pytest.raises(Conflict):
        once(host, tmp_path, llama)

    start(llama, tmp_path)
    assert V1 in llama.applied()


@pytest.mark.parametrize(
    ("change", "error", "fix"),
    [({"key": "secret"}, InvalidInput, "LLAMA_API_KEY"), ({"is_loading": True}, Unavailable, "until it has its model")],
)
def test_what_is_wrong_with_the_server_is_told(llama, tmp_path, change, error, fix):
    for name, value in change.items():
        setattr(llama, name, value)

    options = LlamaOptions(lambda *_: None)
    with pytest.raises(error) as refused, closing(LlamaEngine(llama.url, tmp_path, options)) as it:
        it.look()

    assert fix in refused.value.fix


def test_a_restart_that_fails_is_told(llama, host, tmp_path):
    with pytest.raises(InvalidInput, match="--restart ended with 3: it said nothing"):
        once(host, tmp_path, llama, restart=shlex.join([sys.executable, "-c", "exit(3)"]))


def test_what_it_needs_is_asked_for_first(llama, vllm, host, tmp_path):
    plain = {"engine": "llamacpp", "url": llama.url}
    with pytest.raises(InvalidInput, match="needs the base"):
        make_agent(host, tmp_path, **plain)
    channels = (PROD, f"{LINE}@dev")
    with pytest.raises(InvalidInput, match="follows one channel"):
        make_agent(host, tmp_path, channels=channels, llama=options_of(host), **plain)
    with pytest.raises(InvalidInput, match="a comma or a colon"):
        make_agent(host, Path("/srv/a,b"), llama=options_of(host), **plain)
    with pytest.raises(InvalidInput, match="is no llama-server"):
        once(host, tmp_path, vllm)
    assert httpx.get(f"{llama.url}/lora-adapters", verify=False).json() == []
