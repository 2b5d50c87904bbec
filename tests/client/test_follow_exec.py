"""Followers of the engine `exec`: what its commands are asked, and what their ends mean."""

import os

import pytest

from deltareg.client.follow.exec_server import ExecCommands, ExecServer
from deltareg.client.follow.opening import open_engine
from deltareg.client.follow.release import FollowedChannel
from deltareg.errors import BaseMismatch, InvalidInput, Unavailable
from tests.client.agents import LINE, PROD, aliases, make_agent, running_agent
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES

BASES = SAMPLES / "bases"
V1, V2 = "team--lora--v1", "team--lora--v2"


def once(host, folder, engine, **options):
    given = {"engine": "exec", "commands": engine.commands, "drain_s": 0} | options
    agent, _ = make_agent(host, folder, **given)
    return agent.once()


def test_versions_are_loaded_and_unloaded_by_commands(exec_engine, host, maker, tmp_path):
    home, commands = tmp_path / "own", exec_engine.commands
    exec_engine.set(base=str(BASES / "tinyllama"))

    with running_agent(host, home, engine="exec", commands=commands, interval_s=0.2):
        until((home / "serving.json").exists, "v2 is served")
        assert exec_engine.names() == [V2]
        maker.rollback(LINE, "prod")
        until(lambda: aliases(home)[PROD]["served"] == V1, "v1 is served")
        until(lambda: exec_engine.names() == [V1], "v2 has drained")

    assert exec_engine.state()["asked"] == [
        ["load", ["name", "path"], V2],
        ["load", ["name", "path"], V1],
        ["unload", ["name", "path"], V2],
    ]
    assert aliases(home)[PROD]["base"] == "checked"
    (adapter,) = exec_engine.state()["adapters"]
    assert (BASES / adapter["path"] / "adapter_config.json").exists()


def test_the_base_that_it_names_is_held_against_the_versions(exec_engine, host, tmp_path):
    exec_engine.set(base=str(BASES / "tinyllama_other"))

    with pytest.raises(BaseMismatch, match="its tensors differ"):
        once(host, tmp_path / "own", exec_engine)

    assert exec_engine.names() == []


@pytest.mark.parametrize(("status", "error"), [(os.EX_TEMPFAIL, Unavailable), (1, InvalidInput), (77, InvalidInput)])
def test_how_a_command_ends_says_whether_trying_again_may_help(exec_engine, status, error):
    exec_engine.set(ends={"load": status}, says={"load": ["starting", "no room for a LoRA"]})

    with pytest.raises(error, match=f"ended with {status}: no room for a LoRA"):
        ExecServer(exec_engine.commands).load("mine", BASES)


@pytest.mark.soak  # the same code as with vLLM
def test_an_adapter_that_stays_is_trouble_and_holds_up_nothing(exec_engine, host, maker, tmp_path):
    once(host, tmp_path / "own", exec_engine)
    maker.rollback(LINE, "prod")
    exec_engine.set(ends={"unload": 1}, says={"unload": ["it is in use"]})

    (found,) = once(host, tmp_path / "own", exec_engine)

    assert found.version == 1
    assert "stays loaded" in found.trouble
    assert "it is in use" in found.trouble


@pytest.mark.parametrize(
    ("lists", "told"),
    [
        ("not JSON", "lists no adapters: Invalid JSON"),
        ('{"adapters": [{"path": "/x"}]}', "lists no adapters: adapters.0.name: Field required"),
        ("[]", "lists no adapters: "),
    ],
)
def test_a_list_that_is_none_is_named(exec_engine, lists, told):
    exec_engine.set(lists=lists)

    with pytest.raises(InvalidInput, match=told.replace("[", r"\[")) as refused:
        ExecServer(exec_engine.commands).list_adapters()

    assert '{"adapters": [{"name"' in refused.value.fix


def test_commands_that_cannot_be_are_refused_before_anything_is_done(tmp_path):
    followed = [FollowedChannel.parse(PROD)]

    with pytest.raises(InvalidInput, match="--load names no command"):
        ExecServer(ExecCommands("true", " ", "true"))
    with pytest.raises(InvalidInput, match="No closing quotation"):
        ExecServer(ExecCommands("true", "true", "'rm"))
    with pytest.raises(InvalidInput, match="cannot be run: No such file"):
        ExecServer(ExecCommands(str(tmp_path / "nothing"), "true", "true")).list_adapters()
    with pytest.raises(InvalidInput, match="needs its commands"):
        open_engine("exec", followed, [tmp_path])
    commands = ExecCommands("true", "true", "true")
    with pytest.raises(InvalidInput, match="has no address"):
        open_engine("exec", followed, [tmp_path], url="http://x", commands=commands)
    with pytest.raises(InvalidInput, match="the engine dir runs no commands"):
        open_engine("dir", followed, [tmp_path], commands=commands)


def test_no_shell_reads_the_commands(exec_engine, tmp_path):
    listed = exec_engine.commands.list
    trap = tmp_path / "trap"

    ExecServer(ExecCommands(f"{listed} ; touch {trap}", "true", "true"))
    with pytest.raises(InvalidInput):
        ExecServer(ExecCommands(f"{listed} ; touch {trap}", "true", "true")).list_adapters()

    assert not trap.exists()
