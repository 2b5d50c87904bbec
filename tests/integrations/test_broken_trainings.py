"""Trainings that are killed, whose disk fills up, whose server goes away: real processes."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fixtures.processes import until
from tests.integrations.conftest import BASE

pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(600)]
PROGRAM = Path(__file__).with_name("programs") / "train.py"
ROOT = Path(__file__).parents[2]
LONG_S = 400
SMALL_BYTES = 40_000


@pytest.fixture
def server(processes):
    """Run a server that can be killed, with the base."""
    made = processes.api().start()
    with made.client(processes.folder / "cache") as client:
        client.bases.push(BASE, "tinyllama")
    return made


@pytest.fixture
def train(programs, server):
    """Start a training in a process of its own."""

    def start(folder, **given):
        environ = programs.environ(
            "trainer",
            PYTHONPATH=str(ROOT),
            DELTAREG_SERVER=server.url,
            DELTAREG_TOKEN=server.token,
            OMP_NUM_THREADS="1",
            **given.pop("environ", {}),
        )
        wanted = {"folder": str(folder), "line": "team/chat", "strategy": "steps", "steps": 4}
        argument = json.dumps(wanted | given)
        return programs.start("trainer", sys.executable, str(PROGRAM), argument, environ=environ)

    return start


def versions(server, folder):
    with server.client(folder / "looks") as client:
        return {int(v.labels["step"]): v.ref for v in client.versions.list("team/chat")}


def has_some(server, folder, count):
    from deltareg.errors import NotFound

    try:
        return len(versions(server, folder)) >= count
    except NotFound:
        return False


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_training_leaves_whole_versions_and_goes_on(server, train, tmp_path, killed_after):
    push = {"always_push": True}
    first = train(tmp_path / "run", steps=5, seconds=0.4, push=push)
    until(lambda: has_some(server, tmp_path, killed_after), "versions", timeout_s=LONG_S)
    assert first.kill()
    before = versions(server, tmp_path)

    second = train(tmp_path / "run", steps=5, goes_on=True, push=push)

    assert second.wait(LONG_S) == 0, second.errors[-3000:]
    after = versions(server, tmp_path)
    assert before.items() <= after.items()
    assert set(after) >= {max(before), 5}
    with server.client(tmp_path / "looks") as client:
        for step, ref in after.items():
            earlier = [one for one in after if one < step]
            wanted = [after[max(earlier)]] if earlier else []
            assert client.show(ref).parents == wanted
            client.pull(ref, tmp_path / f"pulled-{step}")
    assert list((tmp_path / "run" / ".deltareg").glob("steps/*")) == []


def test_a_server_that_is_started_anew_is_waited_for(server, train, tmp_path):
    server._environ["DELTAREG_PORT"] = str(server.port)
    running = train(tmp_path / "run", steps=5, seconds=1, environ={"DELTAREG_PATIENCE": "60s"})
    until(lambda: has_some(server, tmp_path, 1), "a version", timeout_s=LONG_S)

    server.kill()
    server.start()

    assert running.wait(LONG_S) == 0, running.errors[-3000:]
    assert max(versions(server, tmp_path)) == 5


def test_a_server_that_stays_away_ends_no_training(server, train, tmp_path):
    running = train(tmp_path / "run", steps=4, seconds=1)
    until(lambda: has_some(server, tmp_path, 1), "a version", timeout_s=LONG_S)

    server.kill()

    assert running.wait(LONG_S) == 0, running.errors[-3000:]
    assert json.loads(running.output.splitlines()[-1])["steps"] == 4
    assert "was not pushed" in running.errors
    assert (tmp_path / "run" / ".deltareg" / "kept" / "step-4").is_dir()


def test_a_disk_that_is_full_is_told_and_ends_no_training(server, train, tmp_path):
    """The Trainer itself writes nothing here: only the callback has need of room."""
    with small_disk(tmp_path / "disk") as disk:
        running = train(disk, strategy="no", steps=2)
        status = running.wait(LONG_S)

    assert status == 0, running.errors[-3000:]
    assert json.loads(running.output.splitlines()[-1]) == {"versions": [], "steps": 2}
    assert "step 2 was not pushed" in running.errors
    assert "Traceback" not in running.errors


@contextmanager
def small_disk(folder):
    """Mount a file system in memory that is soon full, where that is allowed."""
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", str(folder))
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
