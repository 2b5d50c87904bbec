"""Updates that are killed (SIGKILL) before each change of the disk: a folder is whole, and the next one ends well.

The points are counted, not timed: an audit hook of the interpreter kills the process before its nth
change. The versions have other files each, so that what is noted of a folder matters.
"""

import shutil
import subprocess
import sys

import pytest

from deltareg.client import Client, ClientConfig
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import SAMPLES, SCOPES

DELTAS = SAMPLES / "deltas" / "tinyllama"
LINE = "team/files"

KILLED_AT = """
import os, signal, sys
from pathlib import Path
from deltareg.client import Client, ClientConfig
from deltareg.client.use_cases import sync, update
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "ctypes.dlsym"}
server, token, cache, target = sys.argv[1:]
config = ClientConfig(server=server, token=token, cache_dir=Path(cache), concurrency=1)
seen = 0
def watch(number):
    def hook(event, args):
        global seen
        is_write = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if is_write or event in CHANGES:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
print("ready", flush=True)
for order in sys.stdin:
    act, ref, number = order.split()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with Client(config) as client:
                watch(int(number))
                if act == "sync":
                    client.folders.sync(Path(target) / "delta.lock")
                else:
                    client.folders.update(Path(target), ref)
            status = 0
        finally:
            os._exit(status or (0 if number != "0" else min(seen, 255)))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture
def versions(local_registry, tmp_path):
    """Push three versions: the second has a file more, the third another one; gives their folders."""
    local_registry.line("lora")
    client = local_registry.client(SCOPES, principal="maker")
    folders = []
    for number, (delta, more) in enumerate([("lora", ""), ("lora_v2", "README.md"), ("lora_bf16", "NOTICE")], 1):
        folder = tmp_path / "made" / str(number)
        shutil.copytree(DELTAS / delta, folder)
        if more:
            (folder / more).write_text(f"what is told of {number}\n")
        client.push(folder, LINE, base="tinyllama", golden=False)
        folders.append(folder)
    return folders


@pytest.fixture
def edge(local_registry, tmp_path):
    """Give the client of another machine."""
    config = ClientConfig(
        server=local_registry.url, token=local_registry.token("read"), cache_dir=tmp_path / "edge", concurrency=1
    )
    with Client(config) as client:
        yield client


@pytest.fixture
def killing(local_registry, tmp_path):
    """Give a function that runs an update, killed before its nth change of the disk; gives its status."""
    started = []

    def start(target):
        arguments = [local_registry.url, local_registry.token("read"), str(tmp_path / "edge"), str(target)]
        command = [sys.executable, "-c", KILLED_AT, *arguments]
        killer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        started.append(killer)
        assert killer.stdin is not None
        assert killer.stdout is not None
        assert killer.stdout.readline() == "ready\n"

        stdin, stdout = killer.stdin, killer.stdout

        def run(act, ref, number):
            stdin.write(f"{act} {ref} {number}\n")
            return int(stdout.readline())

        return run

    yield start
    for killer in started:
        killer.communicate(timeout=30)


def held(versions, folder):
    """Give which version a folder holds, whole."""
    (number,) = (n for n, made in enumerate(versions, 1) if folder.is_dir() and same_files(made, folder))
    return number


def points(total, step):
    """Give the numbers of changes to kill at: every few, all of the last where names change hands, and one too far."""
    dense = max(1, total - 12)
    return [*range(1, dense, step), *range(dense, total + 2)]


@pytest.mark.slow
@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.soak)])
def test_a_kill_before_any_change_leaves_a_whole_version_and_the_next_update_ends_well(
    versions, edge, killing, tmp_path, step
):
    target = tmp_path / "model"
    edge.pull(f"{LINE}:v1", target)
    edge.cache.prune(max_bytes=0)
    run = killing(target)
    total = run("update", f"{LINE}:v2", 0)
    seen, statuses = set(), []
    for number in points(total, step):
        edge.folders.update(target, f"{LINE}:v1")
        edge.cache.prune(max_bytes=0)
        statuses.append(run("update", f"{LINE}:v2", number))
        seen.add(held(versions, target))
        following = 2 if number % 2 else 3  # the one that was killed, or another one
        edge.folders.update(target, f"{LINE}:v{following}")
        assert held(versions, target) == following

    assert total > 20
    assert (statuses[0], statuses[-1]) == (-9, 0)
    assert seen == {1, 2}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".deltareg-")] == []


@pytest.mark.slow
@pytest.mark.parametrize("step", [12, pytest.param(1, marks=pytest.mark.soak)])
def test_a_kill_between_two_folders_leaves_each_whole(versions, edge, killing, tmp_path, monkeypatch, step):
    monkeypatch.chdir(tmp_path)
    lock, names = tmp_path / "delta.lock", ("one", "two")
    for name in names:
        edge.folders.lock(lock, add=[(f"{LINE}:v2", name)])
        edge.pull(f"{LINE}:v1", tmp_path / name)
    edge.cache.prune(max_bytes=0)
    run = killing(tmp_path)
    total = run("sync", "-", 0)
    seen = set()
    for number in points(total, step):
        for name in names:
            edge.folders.update(tmp_path / name, f"{LINE}:v1")
        edge.cache.prune(max_bytes=0)
        run("sync", "-", number)
        seen.add(tuple(held(versions, tmp_path / name) for name in names))
        edge.folders.sync(lock)
        assert [held(versions, tmp_path / name) for name in names] == [2, 2]

    assert seen == {(1, 1), (2, 1), (2, 2)}
