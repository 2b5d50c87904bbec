"""Update: what differs travels, the folder is the old version or the new one, nothing is lost."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from safetensors.numpy import load_file, save_file

from deltareg.client import Client, ClientConfig
from deltareg.client.disk.swap import exchange
from deltareg.client.folders.base_folder import open_base
from deltareg.errors import Conflict, InvalidInput, NotFound
from tests.client.checkpoints import LINE, NAMES, trained, weights, write, write_run
from tests.client.grids import Traffic
from tests.client.test_pull import LORA
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import ONE_STACK, SAMPLES

COUNT = 3


@pytest.fixture
def run(registry_server, tmp_path):
    """Push the checkpoints of a run; gives their folders, the base's first."""
    folders = write_run(tmp_path / "run", COUNT, late=True)
    registry_server.pushed(*folders, line=LINE)
    return folders


@pytest.fixture
def moved_run(registry_server, tmp_path):
    """Push the checkpoints of a run, whose base then lies where nobody knows; gives them."""
    folders = write_run(tmp_path / "run", COUNT, share=0.02)
    client = registry_server.client()
    client.bases.push(folders[0], "base")
    client.push(folders[1], LINE, base="base")
    folders[0].rename(tmp_path / "elsewhere")
    return folders


@pytest.fixture
def edge(registry_server, tmp_path):
    """Give a client of another machine: it may read, and its cache is empty."""
    config = ClientConfig(server=registry_server.url, token=registry_server.token("read"), cache_dir=tmp_path / "edge")
    with Client(config) as client:
        yield client


def forget(client):
    """Empty the cache, but for its notes and manifests."""
    client.cache.prune(max_bytes=0)


def test_only_what_differs_travels(run, edge, tmp_path):
    target = tmp_path / "model"
    edge.pull(f"{LINE}:v1", target)
    forget(edge)

    plan = edge.folders.update(target, ":v2", is_plan=True)
    done = edge.folders.update(target, ":v2")

    assert (plan.plan, done.plan, done.ref, done.from_ref) == ("patch", "patch", f"{LINE}:v2", f"{LINE}:v1")
    assert same_files(run[2], target)
    assert done.fetched_bytes == plan.fetched_bytes
    assert done.fetched_bytes < 0.6 * done.full_bytes, "version 1 has what version 2 stands on"


@ONE_STACK
def test_the_way_back_needs_the_base(run, edge, tmp_path):
    target = tmp_path / "model"
    edge.pull(f"{LINE}:v3", target)

    back = edge.folders.update(target, ":v1")

    assert same_files(run[1], target)
    assert back.ref == f"{LINE}:v1"


@ONE_STACK
@pytest.mark.parametrize("act", ["pull", "materialize"])
def test_bytes_of_the_base_that_come_along_are_counted(moved_run, edge, tmp_path, act):
    traffic = Traffic(edge)

    report = getattr(edge, act)(f"{LINE}:v1", tmp_path / "model")

    base = edge.bases.show("base").stored_bytes
    assert traffic.bytes == report.fetched_bytes > base


@ONE_STACK
def test_an_update_that_needs_the_base_fetches_what_its_plan_says(run, edge, tmp_path):
    target = tmp_path / "model"
    run[0].rename(tmp_path / "elsewhere")
    run[1].rename(target)  # an installed version whose base never came
    traffic = Traffic(edge)

    plan = edge.folders.update(target, f"{LINE}:v2", is_plan=True)
    done = edge.folders.update(target, f"{LINE}:v2")

    assert done.fetched_bytes == traffic.bytes
    assert done.fetched_bytes == plan.fetched_bytes


@ONE_STACK
def test_what_is_there_already_is_left_alone(run, edge, tmp_path):
    target = tmp_path / "model"
    edge.pull(f"{LINE}:v2", target)
    before = (target / "model.safetensors").stat().st_ino

    report = edge.folders.update(target, ":v2")

    assert (report.plan, report.fetched_bytes) == ("none", 0)
    assert (target / "model.safetensors").stat().st_ino == before


@ONE_STACK
def test_a_folder_that_was_written_to_comes_whole(run, edge, tmp_path):
    target = tmp_path / "model"
    edge.pull(f"{LINE}:v1", target)
    forget(edge)
    (target / "config.json").write_text("{}")

    report = edge.folders.update(target, ":v1")

    assert report.plan == "full"
    assert same_files(run[1], target)


@ONE_STACK
def test_bytes_that_changed_without_a_trace_do_not_come_through(run, edge, tmp_path):
    target = tmp_path / "model"
    edge.pull(f"{LINE}:v1", target)
    file = target / "model.safetensors"
    kept = file.stat()
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    with file.open("r+b") as data:  # the inode stays; the times are put back
        data.write(raw)
    os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns))

    edge.folders.update(target, ":v2")

    assert same_files(run[2], target)


@ONE_STACK
def test_files_of_others_are_not_touched(run, edge, tmp_path):
    target = tmp_path / "model"
    edge.pull(f"{LINE}:v1", target)
    (target / "notes.txt").write_text("mine")

    with pytest.raises(Conflict, match=r"notes\.txt"):
        edge.folders.update(target, ":v2")

    assert (target / "notes.txt").read_text() == "mine"
    assert (target / "model.safetensors").read_bytes() == (run[1] / "model.safetensors").read_bytes()


@ONE_STACK
def test_a_folder_without_a_note_is_recognised_by_its_files(run, edge, tmp_path):
    target = tmp_path / "model"
    run[1].rename(target)

    with pytest.raises(InvalidInput, match="nothing is known"):
        edge.folders.update(target, ":v2")
    report = edge.folders.update(target, f"{LINE}:v2")

    assert report.from_ref == f"{LINE}:v1"
    assert same_files(run[2], target)


@ONE_STACK
def test_a_folder_of_something_else_is_refused(run, edge, tmp_path):
    with pytest.raises(InvalidInput, match="holds no version"):
        edge.folders.update(SAMPLES / "bases" / "tinyllama", f"{LINE}:v2")
    with pytest.raises(NotFound, match="no folder"):
        edge.folders.update(tmp_path / "nowhere", f"{LINE}:v2")


def test_a_folded_model_is_folded_again(shared_registry, tmp_path):
    client, target = shared_registry.client(), tmp_path / "model"
    client.push(LORA, "team/updated", base=str(SAMPLES / "bases" / "tinyllama"))
    second = SAMPLES / "deltas" / "tinyllama" / "full"
    client.push(second, "team/updated", base=str(SAMPLES / "bases" / "tinyllama"))
    client.materialize("team/updated:v1", target)
    client.materialize("team/updated:v2", tmp_path / "other")

    report = client.folders.update(target, ":v2")

    assert report.plan in {"full", "patch"}
    assert same_files(tmp_path / "other", target)
    assert client.folders.update(target, ":v2").plan == "none"


@pytest.fixture
def adapters(registry_server, tmp_path):
    """Push two adapters of one layer each, whose base lies where nobody knows."""
    base = shutil.copytree(SAMPLES / "bases" / "tinyllama", tmp_path / "base")
    registry_server.client().bases.push(base, "base")
    for number in (0, 1):
        folder = shutil.copytree(LORA, tmp_path / f"adapter{number}")
        file = folder / "adapter_model.safetensors"
        factors = {name: part for name, part in load_file(file).items() if f"layers.{number}." in name}
        save_file(factors, file, metadata={"format": "pt"})
        config = json.loads((folder / "adapter_config.json").read_text())
        config["layers_to_transform"] = [number]
        (folder / "adapter_config.json").write_text(json.dumps(config))
        registry_server.client().push(folder, "team/adapters", base="base")
    base.rename(tmp_path / "elsewhere")


def fold_anew(server, ref, to):
    """Materialize on a machine that has nothing; gives the report."""
    return server.client(("read",)).materialize(ref, to)


@pytest.fixture
def tuned(registry_server, tmp_path):
    """Push two fine-tunes, each of another tensor, whose base lies where nobody knows."""
    base = write(tmp_path / "base", weights())
    registry_server.client().bases.push(base, "base")
    for number in (0, 1):
        folder = write(tmp_path / f"tuned{number}", trained(weights(), number, names=NAMES[number : number + 1]))
        registry_server.client().push(folder, "team/tuned", base="base")
    base.rename(tmp_path / "elsewhere")


@ONE_STACK
@pytest.mark.parametrize("line", ["team/adapters", "team/tuned"])
def test_a_folded_model_is_patched_to_what_folding_anew_gives(request, registry_server, edge, tmp_path, line):
    request.getfixturevalue(line.rpartition("/")[2])
    target = tmp_path / "model"
    edge.materialize(f"{line}:v1", target)
    forget(edge)
    traffic = Traffic(edge)

    plan = edge.folders.update(target, ":v2", is_plan=True)
    done = edge.folders.update(target, ":v2")
    anew = fold_anew(registry_server, f"{line}:v2", tmp_path / "anew")

    assert same_files(tmp_path / "anew", target)
    with open_base(target, edge.cache) as folded:
        assert str(folded.identity.root) == anew.root
    assert (plan.plan, done.plan) == ("patch", "patch")
    assert traffic.bytes == done.fetched_bytes == plan.fetched_bytes < 0.8 * done.full_bytes
    assert done.full_bytes == anew.fetched_bytes


@ONE_STACK
def test_a_folded_model_that_changed_without_a_trace_is_folded_from_what_is_stored(
    registry_server, adapters, edge, tmp_path
):
    target = tmp_path / "model"
    edge.materialize("team/adapters:v1", target)
    forget(edge)
    file = target / "model.safetensors"
    times = file.stat()
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    with file.open("r+b") as data:
        data.write(raw)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    edge.folders.update(target, ":v2")
    fold_anew(registry_server, "team/adapters:v2", tmp_path / "anew")

    assert same_files(tmp_path / "anew", target)


@ONE_STACK
def test_a_link_is_not_replaced(run, edge, tmp_path):
    edge.pull(f"{LINE}:v1", tmp_path / "real")
    (tmp_path / "model").symlink_to(tmp_path / "real")

    with pytest.raises(Conflict, match="cannot be replaced"):
        edge.folders.update(tmp_path / "model", f"{LINE}:v2")

    assert same_files(run[1], tmp_path / "real")


# Forks an update for every line that it is given, and kills it so many seconds later.
KILLED = """
import os, signal, sys, time
from pathlib import Path
from deltareg.client import Client, ClientConfig
from deltareg.client.use_cases import update  # all that it needs is loaded before the clock runs
server, token, cache, target = sys.argv[1:]
config = ClientConfig(server=server, token=token, cache_dir=Path(cache))
print("ready", flush=True)
for order in sys.stdin:
    ref, after_s = order.split()
    pid = os.fork()
    if pid == 0:
        try:
            with Client(config) as client:
                client.folders.update(Path(target), ref)
        finally:
            os._exit(0)
    time.sleep(float(after_s))  # the fault itself: where it hits is up to chance
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print("killed", flush=True)
"""


@ONE_STACK
@pytest.mark.parametrize("act", ["pull", "materialize"])
def test_a_kill_at_any_point_leaves_a_whole_version(registry_server, run, edge, tmp_path, act):
    target = tmp_path / "model"
    whole = {n: run[n] for n in (1, 2, 3)}
    if act == "materialize":
        whole = {n: fold_anew(registry_server, f"{LINE}:v{n}", tmp_path / f"anew{n}").path for n in whole}
    getattr(edge, act)(f"{LINE}:v1", target)
    seen: set[int] = set()
    step = 0
    command = [
        sys.executable,
        "-c",
        KILLED,
        registry_server.url,
        registry_server.token("read"),
        str(tmp_path / "edge"),
        str(target),
    ]

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as killer:
        assert killer.stdin is not None
        assert killer.stdout is not None
        assert killer.stdout.readline() == "ready\n"
        while step < 16 or (seen != {1, 2} and step < 200):
            killer.stdin.write(f"{LINE}:v{2 - step % 2} {0.02 * step}\n")
            assert killer.stdout.readline() == "killed\n"
            held = [number for number in (1, 2) if same_files(whole[number], target)]
            assert len(held) == 1, "the folder is neither the old version nor the new one"
            seen.add(held[0])
            step += 1
        killer.stdin.close()

    edge.folders.update(target, f"{LINE}:v3")
    assert same_files(whole[3], target)
    assert seen == {1, 2}


def test_two_folders_exchange_their_names(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()

    exchange(tmp_path / "a", tmp_path / "b")

    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["a"]
    with pytest.raises(OSError, match="such file"):
        exchange(tmp_path / "a", tmp_path / "missing")
