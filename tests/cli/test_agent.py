"""`agent run`, `fleet` and `channel show` on the command line: statuses, texts, documents."""

import json
import signal

import pytest

from deltareg.wire import AgentReport, Observed
from tests.cli.steps import push
from tests.fixtures.processes import until

PROD = ("me/chat", "prod")


@pytest.fixture
def promoted(user, local_registry):
    """Give a user whose line me/chat has v1, verified and on prod."""
    ref = push(user)
    local_registry.verified(ref)
    assert user("promote", ref, "--channel", "prod").status == 0
    return user


def test_once_brings_a_folder_to_what_the_channel_says(promoted):
    done = promoted("agent", "run", "--once", "--channel", "me/chat@prod", "--dir", "served")
    again = promoted(
        "agent", "run", "--once", "--channel", "me/chat@prod", "--dir", "served", "--json", "--name", "host-1"
    )

    assert done.status == 0, done.err
    assert "me/chat@prod" in done.out
    assert (promoted.home / "served" / "current" / "adapter_config.json").exists()
    assert again.json["items"][0]["version"] == 1
    assert again.json["agent"] == "host-1"


def test_two_of_the_three_commands_of_an_engine_are_too_few(user):
    refused = user(
        "agent",
        "run",
        "--channel",
        "me/chat@prod",
        "--dir",
        "served",
        "--engine",
        "exec",
        "--load",
        "true",
        "--list",
        "true",
    )

    assert refused.status == 2
    assert "name all of --list, --load and --unload" in refused.err


def test_it_runs_until_it_is_told_to_stop(promoted):
    words = ("agent", "run", "--channel", "me/chat@prod", "--dir", "served", "-o", "jsonl")
    running = promoted.spawn(*words)
    try:
        until((promoted.home / "served" / "serving.json").exists, "it serves")
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=30)
    finally:
        running.kill()

    assert running.returncode == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events] == ["pulling", "ok"]
    assert events[-1]["version"] == 1


def test_a_channel_shows_who_follows_it(promoted):
    promoted("agent", "run", "--once", "--channel", "me/chat@prod", "--dir", "served", "--name", "host-1")

    shown, every = promoted("channel", "show", *PROD), promoted("channel", "show", *PROD, "-v")
    document = promoted("channel", "show", *PROD, "--json").json
    quiet = promoted("fleet", "drift", "me/chat")

    assert "1 agent serves it" in shown.out
    assert "Followers  the channel says v1" in every.out
    assert any(line.split()[:3] == ["host-1", "v1", "none"] for line in every.out.splitlines())
    assert document["followers"][0]["agent"] == "host-1"
    assert (quiet.status, quiet.out) == (0, "no drift\n")


def test_drift_ends_with_ten(promoted, local_registry):
    host = local_registry.client(("read", "serve"), principal="host")
    report = AgentReport(engine="vllm", every_s=60, serves=[Observed(channel="me/chat@prod")])
    host._api.send("PUT", "/fleet/agents/host-9", body=report)

    listed = promoted("fleet", "ls")
    drift = promoted("fleet", "drift", "me/chat@prod")

    assert listed.status == 0
    assert (drift.status, "host-9" in drift.out, "behind" in drift.out) == (10, True, True)
    assert promoted("fleet", "rm", "host-9").status == 0
    assert promoted("fleet", "drift").status == 0
    assert promoted("fleet", "rm", "host-9").status == 3


@pytest.mark.parametrize(
    "words",
    [
        ("--channel", "me/chat", "--dir", "d"),
        ("--channel", "me/chat@prod"),
        ("--dir", "d"),
        ("--channel", "me/chat@prod", "--dir", "d", "--dir", "e"),
        ("--channel", "me/chat@prod", "--channel", "me/chat@prod", "--dir", "d", "--dir", "e"),
        ("--channel", "me/chat@prod", "--dir", "d", "--engine", "vllm"),
        ("--channel", "me/chat@prod", "--dir", "d", "--url", "http://127.0.0.1:9"),
        ("--channel", "me/chat@prod", "--dir", "d", "--name", "A B"),
    ],
)
def test_what_cannot_be_meant_is_refused(shell, words):
    ended = shell("agent", "run", "--once", *words)

    assert ended.status == 2, ended.err
    assert "fix:" in ended.err
