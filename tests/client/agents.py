"""Agents for tests: started in a thread, looked at by condition, stopped at the end."""

import json
import threading
from contextlib import contextmanager
from dataclasses import replace

from deltareg.client.follow import FollowedChannel, FollowEvent, FollowOptions
from deltareg.client.follow.opening import open_engine
from tests.fixtures.processes import until
from tests.fixtures.registries import SAMPLES

DELTAS = SAMPLES / "deltas" / "tinyllama"
LINE, PROD = "team/lora", "team/lora@prod"
SCOPES = ("read", "serve")


def make_agent(
    client, *folders, channels=(PROD,), engine="dir", url=None, commands=None, llama=None, drain_s=0.5, **options
):
    """Make an agent that looks often."""
    followed = [FollowedChannel.parse(channel) for channel in channels]
    opened = open_engine(engine, followed, folders, url=url, commands=commands, llama=llama, drain_s=drain_s)
    plain = FollowOptions(agent="host", interval_s=0.05, report_s=0.5)
    events: list[FollowEvent] = []
    agent = client.fleet.agent(opened, followed, replace(plain, **options), on_event=events.append)
    return agent, events


@contextmanager
def running_agent(client, *folders, **options):
    """Run an agent until the block ends; gives its events."""
    agent, events = make_agent(client, *folders, **options)
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield events
    finally:
        agent.stop()
        thread.join(60)
    assert not thread.is_alive()


def served_version(folder):
    """Say which version the link leads to; None where there is none."""
    current = folder / "current"
    return int(current.readlink().name.split("--v")[1].split("-")[0]) if current.exists() else None


def serves(folder, version):
    """Give a condition: the link leads to this version."""
    return lambda: served_version(folder) == version


def aliases(folder):
    """Read the alias file."""
    return json.loads((folder / "serving.json").read_text())["channels"]


def reported(client, version, state="ok"):
    """Wait until the registry was told so, and give what it was told."""

    def look():
        return next((f for f in client.fleet.list(PROD).items if (f.version, f.state) == (version, state)), None)

    return until(look, f"{version} {state} is reported")
