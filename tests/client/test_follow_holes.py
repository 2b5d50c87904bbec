"""What goes wrong on a serving host beside the version that a channel says, and what is spared."""

import shutil

import httpx
import pytest

from deltareg.errors import DeltaregError, Unavailable
from tests.client.agents import DELTAS, LINE, PROD, aliases, make_agent, reported, running_agent
from tests.client.test_follow_vllm import DIGESTS, V1, V2, ask
from tests.e2e.test_data_path import same_files
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES
from tests.fixtures.vllm_stub import Adapter

DEV = "team/lora@dev"


def left_over(vllm, home, line="team--lora", version=9):
    """Have an adapter loaded that an earlier run of the agent has left, and give its name."""
    name = f"{line}--v{version}"
    folder = home / "versions" / f"{name}-{version:012x}"
    shutil.copytree(DELTAS / "lora", folder)
    vllm.adapters[name] = Adapter(name, folder, DIGESTS[V1])
    return name


def test_an_adapter_that_is_not_let_go_holds_up_no_other(vllm, host, maker, tmp_path):
    stuck, other = left_over(vllm, tmp_path, version=8), left_over(vllm, tmp_path, version=9)
    vllm.stuck = {stuck}

    with running_agent(host, tmp_path, engine="vllm", url=vllm.url, drain_s=0) as events:
        until(lambda: vllm.names() == sorted([V2, stuck]), "the other is unloaded")
        until(lambda: events[-1].observed.trouble, "it is told")
        follower = reported(maker, 2)
        vllm.stuck.clear()
        until(lambda: vllm.names() == [V2], "it is let go after all")
        until(lambda: not reported(maker, 2).trouble, "nothing is wrong any more")

    assert other not in vllm.names()
    assert f"Failed to remove lora adapter '{stuck}'" in follower.trouble
    assert (follower.state, follower.drift) == ("ok", "none")


def test_once_ends_well_though_an_adapter_is_not_let_go(vllm, host, tmp_path):
    vllm.stuck = {left_over(vllm, tmp_path)}

    (found,) = make_agent(host, tmp_path, engine="vllm", url=vllm.url, drain_s=0)[0].once()

    assert (found.version, found.state) == (2, "ok")
    assert "stays loaded" in found.trouble


def test_a_channel_that_fails_spares_only_what_it_serves(vllm, host, maker, tmp_path):
    maker.promote(f"{LINE}:v1", "dev")
    make_agent(host, tmp_path, engine="vllm", url=vllm.url, channels=(DEV,))[0].once()
    left_over(vllm, tmp_path)
    left_over(vllm, tmp_path, line="team--other", version=1)
    maker.versions.revoke(f"{LINE}:v1", reason="wrong data", even_if_served=True)
    vllm.adapters.pop(V1)

    options = {"engine": "vllm", "url": vllm.url, "channels": (PROD, DEV), "drain_s": 0}
    with running_agent(host, tmp_path, **options):
        until(lambda: vllm.names() == [V2], "all else is unloaded")
        reported(maker, 2)
        states = {f.channel: f.state for f in maker.fleet.list(LINE).items}

    assert states == {PROD: "ok", DEV: "failed"}


def test_a_line_of_which_nobody_knows_what_is_used_is_spared(vllm, host, maker, tmp_path):
    used = left_over(vllm, tmp_path)
    other = left_over(vllm, tmp_path, line="team--other", version=1)
    vllm.max_lora_rank = 1

    with running_agent(host, tmp_path, engine="vllm", url=vllm.url, drain_s=0):
        until(lambda: vllm.names() == [used], f"{other} is unloaded")
        reported(maker, None, "failed")

    assert vllm.names() == [used]


def test_a_folder_that_somebody_deleted_is_there_before_vllm_comes_back_to_it(vllm, host, maker, tmp_path):
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url, drain_s=60):
        until((tmp_path / "serving.json").exists, "v2 is served")
        maker.rollback(LINE, "prod")
        until(lambda: aliases(tmp_path)[PROD]["served"] == V1, "v1 is served")
        folders = {name: vllm.adapters[name].path for name in (V1, V2)}
        shutil.rmtree(tmp_path / "versions")
        for name, delta in ((V1, "lora"), (V2, "lora_v2")):
            until(folders[name].exists, "it is made anew")
            assert same_files(DELTAS / delta, folders[name])
            assert ask(vllm, name).json()["choices"][0]["text"] == DIGESTS[name]

    assert not vllm.is_dead
    assert [call for call, _ in vllm.calls] == ["load", "load"]


def test_what_an_earlier_run_left_to_drain_gets_its_folder_back(vllm, host, maker, tmp_path):
    make_agent(host, tmp_path, engine="vllm", url=vllm.url)[0].once()
    folder = vllm.adapters[V2].path
    maker.rollback(LINE, "prod")
    shutil.rmtree(folder)

    with running_agent(host, tmp_path, engine="vllm", url=vllm.url, drain_s=60):
        until(folder.exists, "it is made anew")

    assert same_files(DELTAS / "lora_v2", folder)


def test_an_adapter_whose_folder_cannot_be_made_is_unloaded_before_it_ends_vllm(vllm, host, tmp_path):
    name = left_over(vllm, tmp_path, line="team--lora", version=9)
    shutil.rmtree(vllm.adapters[name].path)

    with running_agent(host, tmp_path, engine="vllm", url=vllm.url, drain_s=60):
        until(lambda: vllm.names() == [V2], "it is unloaded")

    assert ask(vllm, name).status_code == 404
    assert not vllm.is_dead


def test_what_was_computed_from_other_bytes_is_not_answered_with(vllm, host, tmp_path):
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url, drain_s=0):
        until((tmp_path / "serving.json").exists, "v2 is served")
        shutil.copy(DELTAS / "lora" / "adapter_model.safetensors", vllm.adapters[V2].path / "adapter_model.safetensors")
        until(lambda: aliases(tmp_path)[PROD]["served"] != V2, "it is served under another name")
        until(lambda: V2 not in vllm.names(), "the name that answered otherwise is gone")
        served = aliases(tmp_path)[PROD]["served"]
        answer = ask(vllm, served).json()["choices"][0]["text"]

    assert answer == DIGESTS[V2]
    assert served.startswith(f"{V2}-")


def test_an_engine_that_has_died_is_not_taken_for_one_that_serves(vllm, host, maker, tmp_path):
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url):
        until(lambda: vllm.names() == [V2], "v2 is loaded")
        vllm.is_dead = True
        follower = reported(maker, 2, "failed")
        vllm.restart(base=vllm.base)
        until(lambda: vllm.names() == [V2], "v2 is loaded again")
        reported(maker, 2)

    assert "is not healthy" in follower.error


def test_an_engine_that_is_long_away_is_served_in_the_round_after_it_is_back(vllm, host, maker, tmp_path):
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url) as events:
        until(lambda: vllm.names() == [V2], "v2 is loaded")
        vllm.is_down = True
        reported(maker, 2, "failed")
        seen = len(vllm.looks)
        until(lambda: len(vllm.looks) > seen + 24, "it was looked for many times")
        vllm.restart(base=vllm.base)
        came = len(vllm.looks)
        until(lambda: vllm.names() == [V2], "v2 is loaded again")
        rounds = len(vllm.looks) - came

    assert rounds <= 10  # two looks a round
    assert events[-1].observed.state == "ok"


def test_what_vllm_refuses_for_good_is_no_reason_to_come_again(vllm, host, tmp_path):
    vllm.max_lora_rank = 1
    with pytest.raises(DeltaregError) as refused:
        make_agent(host, tmp_path, engine="vllm", url=vllm.url)[0].once()
    vllm.is_dead = True
    with pytest.raises(Unavailable):
        make_agent(host, tmp_path, engine="vllm", url=vllm.url)[0].once()

    assert refused.value.exit_code == 2
    assert "--max-lora-rank 4" in refused.value.fix


def test_vllm_without_lora_says_how_to_start_it(vllm, host, tmp_path):
    vllm.is_lora_enabled = False

    with pytest.raises(DeltaregError) as refused:
        make_agent(host, tmp_path, engine="vllm", url=vllm.url)[0].once()

    assert "--enable-lora" in refused.value.fix


def test_metrics_count_followers_by_base(vllm, host, local_registry, tmp_path):
    make_agent(host, tmp_path, engine="vllm", url=vllm.url)[0].once()

    told = httpx.get(f"{local_registry.url}/metrics", verify=False).text

    assert 'deltareg_followers{base="unchecked",drift="none"} 1.0' in told
    assert 'deltareg_followers{base="wrong",drift="failed"} 0.0' in told


def test_the_version_before_is_served_again_though_the_new_one_is_refused(vllm, host, maker, tmp_path):
    maker.rollback(LINE, "prod")
    maker.channels.clear_quarantine(LINE, "prod", 2, reason="for the test")
    vllm.base = str(SAMPLES / "bases" / "tinyllama")
    with running_agent(host, tmp_path, engine="vllm", url=vllm.url):
        until(lambda: vllm.names() == [V1], "v1 is loaded")
        vllm.refused = {V2}
        maker.promote(f"{LINE}:v2", "prod")
        reported(maker, 1, "failed")
        vllm.restart(base=vllm.base)
        until(lambda: vllm.names() == [V1], "v1 is loaded again")
        reported(maker, 1, "failed")

    assert aliases(tmp_path)[PROD]["served"] == V1
