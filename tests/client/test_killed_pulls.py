"""Pulls that are killed (SIGKILL), alone and in company: no byte twice, and none that is wrong."""

import json
import subprocess
import sys

import pytest

from tests.client.grids import Traffic, assert_served_well, fill, storage_of, write_grid

pytestmark = pytest.mark.usefixtures("forked")

KILLED_AT_A_PACK = """
import os, signal, sys
from pathlib import Path
from deltareg.client import Client, ClientConfig
server, token, cache, ref, number = sys.argv[1:]
seen = []
def count(response):
    if "/blobs/" in response.request.url.path:
        seen.append(response)
        if len(seen) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
config = ClientConfig(server=server, token=token, cache_dir=Path(cache), concurrency=1)
with Client(config) as client:
    client._api._http.event_hooks = {"response": [count], "request": []}
    client.pull(ref)
"""

# Forks a pull and kills it, later each time; then several at once, one of them killed.
KILLED_ANYWHERE = """
import json, os, signal, sys, time
from pathlib import Path
from deltareg.client import Client, ClientConfig
from deltareg.client.use_cases import merge  # all that a pull needs is loaded before the clock runs
server, token, cache, refs = *sys.argv[1:4], sys.argv[4:]
def start(ref, at):
    pid = os.fork()
    if pid:
        return pid
    try:
        config = ClientConfig(server=server, token=token, cache_dir=Path(cache) / at)
        with Client(config) as client:
            client.pull(ref)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)
def end(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
statuses = []
for step in range(12):
    pid = start(refs[step % len(refs)], "alone")
    time.sleep(0.008 * step)  # the fault itself: where it hits is up to chance
    os.kill(pid, signal.SIGKILL)
    statuses.append(end(pid))
crowd = []
for round in range(2):
    pids = [start(refs[n % len(refs)], f"crowd{round}") for n in range(5)]
    time.sleep(0.03 * (1 + round))
    os.kill(pids[0], signal.SIGKILL)
    crowd.append([end(pid) for pid in pids][1:])
print(json.dumps([statuses, crowd]))
"""


@pytest.fixture(scope="module")
def server(shared_registry, tmp_path_factory):
    """Add a third version, whose layers lie in three packs."""
    folder = tmp_path_factory.mktemp("grid")
    fill(shared_registry, folder)
    client = shared_registry.client()
    client.bases.push(write_grid(folder / "deep", range(60), seed=5), "deep")
    for number, layers in enumerate((range(8), range(14), range(20))):
        path = write_grid(folder / str(number), layers, seed=4)
        shared_registry.verified(client.push(path, "team/steps", base="deep").version.ref)
    return shared_registry


def run(script, server, cache, *arguments):
    command = [sys.executable, "-c", script, server.url, server.token("read"), str(cache)]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.parametrize("number", [2, 3])
def test_a_killed_pull_goes_on_where_it_was(server, tmp_path, number):
    reader = server.client(("read",), cache_dir=tmp_path)
    wanted = {str(p.digest): p.size_bytes for p in storage_of(reader, "team/steps:v3").packs}

    killed = run(KILLED_AT_A_PACK, server, tmp_path, "team/steps:v3", str(number))
    had = [entry for entry in reader.cache.entries() if entry.kind in {"blobs", "parts"}]
    traffic = Traffic(reader)
    report = reader.pull("team/steps:v3")

    assert killed.returncode == -9, killed.stderr
    assert len(had) == number - 1
    there = sum(wanted[f"sha256:{entry.digest}"] for entry in had)
    assert traffic.bytes == report.fetched_bytes == sum(wanted.values()) - there
    assert_served_well(reader, report.path, "team/steps:v3")


@pytest.mark.slow
def test_no_kill_leaves_a_wrong_byte(server, tmp_path):
    refs = ["team/grid:v2", "team/grid:v1", "team/steps:v3", "team/steps:v1"]

    done = run(KILLED_ANYWHERE, server, tmp_path, *refs)

    assert done.returncode == 0, done.stderr
    alone, crowds = json.loads(done.stdout)
    assert -9 in alone
    assert crowds == [[0] * 4] * 2, done.stderr
    for cache in tmp_path.iterdir():
        reader = server.client(("read",), cache_dir=cache)
        assert reader.cache.verify() == []
        for ref in refs:
            assert_served_well(reader, reader.pull(ref).path, ref)
