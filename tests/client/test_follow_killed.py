"""Agents that are killed (SIGKILL) anywhere: what is served is whole, the next start goes on."""

import json
import subprocess
import sys

import pytest

from tests.client.agents import DELTAS, LINE, PROD, SCOPES, aliases, make_agent, served_version
from tests.e2e.test_data_path import same_files

FOLDERS = {1: DELTAS / "lora", 2: DELTAS / "lora_v2"}

# Forks agents and kills them, each later than the one before; between them the channel moves.
KILLED_ANYWHERE = """
import json, os, signal, sys, time
from pathlib import Path
from deltareg.client import Client, ClientConfig
from deltareg.client.use_cases import merge  # all that a pull needs is loaded before the clock runs
from deltareg.client.follow import FollowedChannel, FollowOptions
from deltareg.client.follow.opening import open_engine
server, token, mover, folder, engine, url = sys.argv[1:]
folder = Path(folder)
channel = FollowedChannel.parse("team/lora@prod")
def start(cache):
    pid = os.fork()
    if pid:
        return pid
    try:
        config = ClientConfig(server=server, token=token, cache_dir=folder.parent / cache)
        opened = open_engine(engine, [channel], [folder], url=url or None, drain_s=0)
        with Client(config) as client:
            client.fleet.agent(opened, [channel], FollowOptions("host", keep=0)).once()
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)
def end(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def look():
    current = folder / "current"
    if not current.is_symlink():  # an engine without a link, or nothing yet
        return None
    files = sorted(p.name for p in current.iterdir())
    return [os.readlink(current), files]
began = time.monotonic()
assert end(start("whole")) == 0
whole_s = time.monotonic() - began
statuses, seen = [], [look()]
with Client(ClientConfig(server=server, token=mover, cache_dir=folder.parent / "mover")) as mover:
    for step in range(8):
        version = 1 + step % 2
        if version == 1:
            mover.rollback("team/lora", "prod")
            mover.channels.clear_quarantine("team/lora", "prod", 2, reason="for the test")
        else:
            mover.promote("team/lora:v2", "prod")
        pid = start(f"cache{step // 4}")
        time.sleep(whole_s * step / 7)  # the fault itself: where it hits is up to chance
        os.kill(pid, signal.SIGKILL)
        statuses.append(end(pid))
        seen.append(look())
print(json.dumps([statuses, seen]))
"""


@pytest.fixture
def maker(local_registry):
    """Put v1 and then v2 of `team/lora` on prod."""
    return local_registry.line("lora", "lora_v2")


def kill_anywhere(server, folder, engine, url=""):
    tokens = server.token(*SCOPES, principal="host"), server.token("read", "promote")
    folder.parent.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", KILLED_ANYWHERE, server.url, *tokens, str(folder), engine, url],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_what_a_killed_agent_leaves_is_whole(local_registry, maker, tmp_path):
    folder = tmp_path / "host" / "served"
    host = local_registry.client(SCOPES, principal="host")

    statuses, seen = kill_anywhere(local_registry, folder, "dir")

    assert -9 in statuses
    wanted = sorted(path.name for path in FOLDERS[1].iterdir())
    assert None not in seen  # once served, never nothing
    assert {tuple(files) for _, files in seen} == {tuple(wanted)}
    for version in (2, 1):
        if version == 1:
            maker.rollback(LINE, "prod")
        make_agent(host, folder)[0].once()
        assert served_version(folder) == aliases(folder)[PROD]["version"] == version
        assert same_files(FOLDERS[version], folder / "current")
    left = {path.name for path in folder.iterdir()}
    assert left <= {"versions", "current", "serving.json", ".follower"}


@pytest.mark.slow
def test_a_killed_agent_leaves_a_vllm_server_that_the_next_one_puts_right(local_registry, maker, tmp_path, vllm):
    folder = tmp_path / "host" / "served"
    host = local_registry.client(SCOPES, principal="host")

    statuses, _ = kill_anywhere(local_registry, folder, "vllm", vllm.url)
    make_agent(host, folder, engine="vllm", url=vllm.url, drain_s=0)[0].once()

    assert -9 in statuses
    assert vllm.names() == ["team--lora--v2"]
    assert aliases(folder)[PROD]["served"] == "team--lora--v2"
