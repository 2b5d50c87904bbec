"""Followers of the engine `dir`: swaps, rollbacks without bytes, outages, revocations, pruning."""

import os
import shutil
import threading
import time

import pytest

from deltareg.client.follow import version_folders
from deltareg.errors import Blocked, Conflict, InvalidInput, NotFound, Unavailable
from tests.client.agents import (
    DELTAS,
    LINE,
    PROD,
    SCOPES,
    aliases,
    make_agent,
    reported,
    running_agent,
    served_version,
    serves,
)
from tests.client.grids import Traffic
from tests.e2e.test_data_path import same_files
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES

PROMISED_S = 5.0


def test_it_serves_what_the_channel_says(host, maker, tmp_path):
    with running_agent(host, tmp_path / "served") as events:
        until(serves(tmp_path / "served", 2), "v2 is served")
        follower = reported(maker, 2)

    assert same_files(DELTAS / "lora_v2", tmp_path / "served" / "current")
    assert (follower.agent, follower.owner, follower.engine) == ("host", "host", "dir")
    assert (follower.drift, follower.revision, follower.desired_version) == ("none", 2, 2)
    assert [event.observed.state for event in events] == ["pulling", "ok"]
    entry = aliases(tmp_path / "served")[PROD]
    assert (entry["version"], entry["revision"]) == (2, 2)
    assert entry["served"] == str(tmp_path / "served" / "current")


def test_a_rollback_is_served_within_five_seconds_and_brings_no_byte(both_databases, tmp_path):
    server = both_databases
    maker = server.line("lora", "lora_v2")
    host = server.client(SCOPES, principal="host")
    maker.rollback(LINE, "prod")
    maker.channels.clear_quarantine(LINE, "prod", 2, reason="for the test")

    with running_agent(host, tmp_path / "served") as events:
        until(serves(tmp_path / "served", 1), "v1 is served")
        maker.promote(f"{LINE}:v2", "prod")
        until(serves(tmp_path / "served", 2), "v2 is served", timeout_s=PROMISED_S)
        traffic = Traffic(host)
        maker.rollback(LINE, "prod", reason="worse")
        until(serves(tmp_path / "served", 1), "v1 is served again", timeout_s=PROMISED_S)

    assert same_files(DELTAS / "lora", tmp_path / "served" / "current")
    assert traffic.blobs == []
    assert events[-1].fetched_bytes == 0
    assert events[-1].previous == 2


def test_who_has_opened_a_file_keeps_it(host, maker, tmp_path):
    with running_agent(host, tmp_path / "served"):
        until(serves(tmp_path / "served", 2), "v2 is served")
        with (tmp_path / "served" / "current" / "adapter_model.safetensors").open("rb") as file:
            maker.rollback(LINE, "prod")
            until(serves(tmp_path / "served", 1), "v1 is served")
            version_folders.prune(tmp_path / "served" / "versions", keep=0, held=(), now=time.time() + 3600)
            read = file.read()

    assert read == (DELTAS / "lora_v2" / "adapter_model.safetensors").read_bytes()


def test_the_registry_is_away_and_comes_back(local_registry, maker, tmp_path, break_network):
    proxy = break_network(local_registry.url)
    host = local_registry.client(SCOPES, principal="host", server=proxy.url, retries=0)

    with running_agent(host, tmp_path / "served"):
        until(serves(tmp_path / "served", 2), "v2 is served")
        for _ in range(6):
            proxy.breaks(r".", "reset")
        maker.rollback(LINE, "prod")
        until(serves(tmp_path / "served", 1), "v1 is served")


def test_it_starts_while_the_registry_is_away(local_registry, maker, tmp_path):
    away = local_registry.client(SCOPES, principal="host", server="http://127.0.0.1:9", retries=0)
    here = local_registry.client(SCOPES, principal="host")
    make_agent(here, tmp_path)[0].once()

    with running_agent(away, tmp_path) as events:
        until((tmp_path / ".follower").exists, "it runs")
        assert served_version(tmp_path) == 2

    assert events == []
    with pytest.raises(Unavailable):
        make_agent(away, tmp_path)[0].once()
    assert served_version(tmp_path) == 2


def test_a_revoked_version_is_not_served_and_the_old_one_stays(host, maker, tmp_path):
    maker.rollback(LINE, "prod")
    maker.channels.clear_quarantine(LINE, "prod", 2, reason="for the test")
    make_agent(host, tmp_path)[0].once()
    maker.promote(f"{LINE}:v2", "prod")
    maker.versions.revoke(f"{LINE}:v2", reason="wrong data", even_if_served=True)

    with running_agent(host, tmp_path) as events:
        follower = reported(maker, 1, "failed")
        assert served_version(tmp_path) == 1
        maker.versions.unrevoke(f"{LINE}:v2", reason="it was right")
        until(serves(tmp_path, 2), "v2 is served")

    assert follower.drift == "failed"
    assert "revoked" in follower.error
    assert events[0].observed.version == 1


def test_a_revoked_version_that_is_served_stays_served(host, maker, tmp_path):
    make_agent(host, tmp_path)[0].once()

    maker.versions.revoke(f"{LINE}:v2", reason="wrong data", even_if_served=True)

    assert make_agent(host, tmp_path)[0].once()[0].state == "ok"
    with pytest.raises(Blocked, match="revoked"):
        make_agent(host, tmp_path / "fresh")[0].once()


def test_a_kept_version_that_was_written_to_is_made_anew(host, maker, tmp_path):
    make_agent(host, tmp_path)[0].once()
    (tmp_path / "current" / "adapter_config.json").write_text("{}")

    make_agent(host, tmp_path)[0].once()

    assert same_files(DELTAS / "lora_v2", tmp_path / "current")
    assert [p.name for p in (tmp_path / "versions").iterdir()] == [(tmp_path / "current").readlink().name]


def test_a_kept_version_is_known_again_without_what_the_cache_knew(local_registry, host, tmp_path):
    make_agent(host, tmp_path)[0].once()
    before = (tmp_path / "current").resolve().stat().st_ino
    fresh = local_registry.client(SCOPES, principal="host")
    traffic = Traffic(fresh)

    make_agent(fresh, tmp_path)[0].once()

    assert traffic.blobs == []
    assert (tmp_path / "current").resolve().stat().st_ino == before


def test_a_link_that_somebody_took_away_is_made_again(host, tmp_path):
    with running_agent(host, tmp_path):
        until(serves(tmp_path, 2), "v2 is served")
        (tmp_path / "current").unlink()
        until(serves(tmp_path, 2), "v2 is served again")


def test_two_channels_have_a_folder_each(host, maker, tmp_path):
    maker.promote(f"{LINE}:v1", "dev")

    agent, _ = make_agent(
        host, tmp_path / "prod", tmp_path / "dev", channels=(PROD, "team/lora@dev"), alias_file=tmp_path / "all.json"
    )
    found = agent.once()

    assert [(each.channel, each.version) for each in found] == [(PROD, 2), ("team/lora@dev", 1)]
    assert (served_version(tmp_path / "prod"), served_version(tmp_path / "dev")) == (2, 1)
    assert {f.channel: f.version for f in maker.fleet.list(LINE).items} == {PROD: 2, "team/lora@dev": 1}
    assert not (tmp_path / "prod" / "serving.json").exists()


def test_a_channel_that_serves_nothing_is_no_failure(host, tmp_path):
    (found,) = make_agent(host, tmp_path, channels=("team/lora@staging",))[0].once()

    assert (found.version, found.state) == (None, "ok")
    assert not (tmp_path / "current").exists()


def test_what_cannot_be_followed_is_said_at_once(local_registry, host, tmp_path):
    with pytest.raises(NotFound, match="has no channel"):
        make_agent(host, tmp_path, channels=("team/lora@absent",))[0].run()
    with pytest.raises(InvalidInput, match="names no channel"):
        make_agent(host, tmp_path, channels=("team/lora:v1",))
    with pytest.raises(InvalidInput, match="folders"):
        make_agent(host, tmp_path, channels=(PROD, "team/lora@dev"))
    (tmp_path / "current").mkdir()
    with pytest.raises(InvalidInput, match="no link"):
        make_agent(host, tmp_path)


def test_two_agents_do_not_share_a_folder(host, tmp_path):
    with running_agent(host, tmp_path):
        until(serves(tmp_path, 2), "v2 is served")
        with pytest.raises(Conflict, match="another agent keeps"):
            make_agent(host, tmp_path)[0].once()


def test_reports_that_are_refused_do_not_hold_up_serving(local_registry, maker, tmp_path, caplog):
    reader = local_registry.client(("read",), principal="host")

    make_agent(reader, tmp_path)[0].once()

    assert served_version(tmp_path) == 2
    assert maker.fleet.list().items == []
    assert "does not allow 'serve'" in caplog.text


def test_pruning_keeps_what_is_held_and_what_was_served_last(tmp_path):
    for age, name in enumerate(["a", "b", "c", "d"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1_000 - age, 1_000 - age))
    (tmp_path / ".gone-e").mkdir()
    (tmp_path / "f").mkdir()  # just served

    gone = version_folders.prune(tmp_path, keep=2, held=["d"], now=time.time())

    assert gone == ["b", "c"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d", "f"]


def test_a_long_wait_ends_when_the_channel_moves(local_registry, maker):
    http = local_registry.http(local_registry.token("read"))
    path = "/deltas/team/lora/channels/prod"
    tag = http.get(path).headers["ETag"]
    threading.Timer(0.3, lambda: maker.rollback(LINE, "prod")).start()

    moved = http.get(path, params={"wait": 60}, headers={"If-None-Match": tag}, timeout=50)
    same = http.get(path, params={"wait": 0.5}, headers={"If-None-Match": moved.headers["ETag"]})

    assert (moved.status_code, moved.json()["version"]) == (200, 1)
    assert same.status_code == 304
    assert http.get(path, params={"wait": 61}).status_code == 422


def test_a_folder_that_is_gone_comes_back(host, tmp_path):
    make_agent(host, tmp_path)[0].once()
    shutil.rmtree(tmp_path / "versions")

    make_agent(host, tmp_path)[0].once()

    assert same_files(DELTAS / "lora_v2", tmp_path / "current")


def test_what_an_agent_has_brought_becomes_a_model_of_ollama(host, tmp_path):
    pytest.importorskip("gguf", reason="needs gguf: pip install 'deltareg[gguf]'")
    base = SAMPLES / "bases" / "tinyllama"
    make_agent(host, tmp_path)[0].once()

    host.folders.convert(tmp_path / "current", tmp_path / "ollama", base=str(base), layout="gguf")

    lines = (tmp_path / "ollama" / "Modelfile").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [f"FROM {base.absolute()}", "ADAPTER ./adapter.gguf"]
    assert (tmp_path / "ollama" / "adapter.gguf").is_file()
