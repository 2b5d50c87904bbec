"""Disk full, wrong token, server down, wrong base: what the installed command line says then.

A clear line that says what is wrong, one that says what to do, and the exit status that scripts
rely on; never a stack trace, and nothing half-done.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deltareg.wire import TokenCreate
from tests.faults import big
from tests.faults.payloads import BASE, SAMPLES, payload
from tests.faults.proxy import Proxy
from tests.fixtures.processes import API, Processes

INVALID, FORBIDDEN, BASE_MISMATCH, QUOTA, UNAVAILABLE, INTERRUPTED = 2, 4, 7, 12, 75, 130
OTHER_BASE = SAMPLES / "bases" / "tinyllama_other"
SMALL_BYTES, LIMIT_BYTES = 2 * big.TENSOR_BYTES, 6 << 20


@pytest.fixture(scope="module")
def processes(tmp_path_factory, nursery):
    """Start processes for all tests of this file."""
    started = Processes(tmp_path_factory.mktemp("clear-lines"))
    started.spawn = nursery.spawn
    yield started
    started.end()


@pytest.fixture(scope="module")
def server(processes):
    """Run a server that holds the base `tiny` and the version `lab/x:v1`; leave it running."""
    return filled(processes, "server")


@pytest.fixture
def victim(processes):
    """Run such a server that may be killed."""
    return filled(processes, "victim")


@pytest.fixture(scope="module")
def dead(processes):
    """Give a server that was killed."""
    server = processes.api("dead").start()
    server.kill()
    return server


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Write a base and a fine-tune of it, whose pack is larger than the disks here have room."""
    folder = tmp_path_factory.mktemp("pair")
    yield big.write_pair(folder, SMALL_BYTES, step=big.LARGE_STEP)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server_of_big(processes, server, pair):
    """Let the server know the base of the pair."""
    register(processes, server, pair[0])
    return server


def filled(processes, name):
    server = processes.api(name).start()
    with server.client(processes.folder / "cache") as client:
        client.bases.push(BASE, "tiny")
        client.push(delta(processes, 1), "lab/x", base="tiny")
    return server


def test_a_wrong_token(processes, server):
    said = ended(push(processes, server, token="drg_pat_" + "x" * 43))

    assert said.status == FORBIDDEN
    assert "token" in said.error
    assert "deltareg auth login" in said.fix


def test_no_token(processes, server):
    said = ended(push(processes, server, token=""))

    assert said.status == FORBIDDEN
    assert "deltareg auth login" in said.fix


def test_a_token_that_may_only_read(processes, server):
    with server.client(processes.folder / "cache") as client:
        token = client.tokens.create(TokenCreate(principal="eve", scopes=["read"])).token

    said = ended(push(processes, server, token=token))

    assert said.status == FORBIDDEN
    assert "does not allow 'push'" in said.error
    assert "--scope push" in said.fix


def test_a_server_that_is_down(processes, dead):
    said = ended(push(processes, dead))

    assert said.status == UNAVAILABLE
    assert dead.url in said.error
    assert "deltareg up" in said.fix


def test_a_server_that_dies_and_stays_dead_under_a_push(processes, victim):
    with Proxy(victim.port) as proxy:
        proxy.pace_s = 1.0
        running = push(processes, victim, url=proxy.url, DELTAREG_RETRIES="1")
        assert proxy.sent.wait(60)
        victim.kill()

        said = ended(running)

    assert said.status == UNAVAILABLE
    assert said.fix


def test_an_interrupted_push(processes, server):
    with Proxy(server.port) as proxy:
        proxy.pace_s = 1.0
        running = push(processes, server, url=proxy.url)
        assert proxy.sent.wait(60)
        running.send(signal.SIGINT)

        status = running.wait()

    assert status == INTERRUPTED
    assert running.errors.strip() == "interrupted; the same command goes on where it stopped"


@pytest.mark.slow
def test_an_interrupted_push_does_not_wait_for_its_pack(processes, server_of_big, pair):
    """The pack would take minutes; the test ends in time only if nobody waits for it."""
    with Proxy(server_of_big.port) as proxy:
        proxy.pace_s = 600.0
        running = push_big(processes, server_of_big, pair[1], url=proxy.url)
        assert proxy.sent.wait(60)
        running.send(signal.SIGINT)

        assert running.wait(60) == INTERRUPTED


@pytest.mark.soak
@pytest.mark.parametrize("within_s", [0.0, 0.004, 0.03, 1.0] * 25)
def test_an_interrupt_ends_a_push_at_any_moment(processes, server_of_big, pair, within_s):
    """One in a hundred used to come in the moment before a wait, and was not heard."""
    with Proxy(server_of_big.port) as proxy:
        proxy.pace_s = 600.0
        running = push_big(processes, server_of_big, pair[1], url=proxy.url)
        assert proxy.sent.wait(60)
        time.sleep(random.uniform(0, within_s))
        running.send(signal.SIGINT)

        assert running.wait(60) == INTERRUPTED


def test_a_base_that_the_server_does_not_know(processes, server):
    said = ended(push(processes, server, base=str(OTHER_BASE)))

    assert said.status == BASE_MISMATCH
    assert "knows no base" in said.error
    assert "deltareg base push" in said.fix


def test_a_delta_over_the_wrong_base(processes, server):
    running = processes.deltareg(
        "materialize", "lab/x:v1", "--base", str(OTHER_BASE), "--out", "out", server=server.url, token=server.token
    )

    said = ended(running)

    assert said.status == BASE_MISMATCH
    assert "is another base" in said.error
    assert said.fix
    assert not (processes.folder / "user" / "out").exists()


def test_scripts_get_the_same_as_a_document(processes, dead):
    running = push(processes, dead, "--json")

    assert running.wait() == UNAVAILABLE
    assert running.output == ""
    document = json.loads(running.errors)
    assert document["code"] == "unavailable"
    assert document["exit_status"] == UNAVAILABLE
    assert "deltareg up" in document["fix"]


@pytest.mark.slow
def test_a_disk_of_the_server_that_is_full(processes, postgresql_url, pair):
    """A limit on the size of files is a full disk that needs no rights; so is a file system."""
    base, tuned = pair
    limited = ("bash", "-c", f'ulimit -f {LIMIT_BYTES // 1024}; exec "$@"', "-", *api())
    server = processes.api("small", database_url=postgresql_url, command=limited).start()
    register(processes, server, base)

    said = ended(push_big(processes, server, tuned))
    server.kill()
    roomy = processes.api("small", database_url=postgresql_url).start()

    check_full(said)
    check_whole(roomy.blobs)
    assert push_big(processes, roomy, tuned).wait() == 0


@pytest.mark.slow
def test_a_file_system_of_the_server_that_is_full(processes, sqlite_url, tmp_path, pair):
    base, tuned = pair
    with small_disk(tmp_path / "disk") as disk:
        store = (disk / "blobs").as_uri()
        server = processes.api("tmpfs", database_url=sqlite_url, store_url=store).start()
        register(processes, server, base)

        said = ended(push_big(processes, server, tuned))
        server.kill()

        check_full(said)
        check_whole(disk / "blobs")


@pytest.mark.parametrize("left_bytes", [0, 400_000])
def test_a_start_on_a_file_system_that_is_full(processes, tmp_path, left_bytes):
    with small_disk(tmp_path / "disk") as disk:
        with suppress(OSError), (disk / "others").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        os.truncate(disk / "others", (disk / "others").stat().st_size - left_bytes)
        start = (*API[:-1], "up", "--workers", "0", "--port", "0", "--data-dir", str(disk / "data"))

        said = ended(processes.start("full", *start, environ=processes.environ("full")))

        assert said.status == QUOTA
        assert "fix:   make room there" in said.text


@pytest.mark.slow
def test_a_disk_of_the_client_that_is_full(processes, server_of_big, pair):
    server = server_of_big
    assert push_big(processes, server, pair[1]).wait() == 0
    program = str(Path(sys.executable).with_name("deltareg"))
    environ = processes.environ("poor", DELTAREG_SERVER=server.url, DELTAREG_TOKEN=server.token)
    limit = f'ulimit -f {LIMIT_BYTES // 1024}; exec "$@"'

    said = ended(
        processes.start(
            "poor", "bash", "-c", limit, "-", program, "pull", "lab/big:v1", "--to", "here", environ=environ
        )
    )

    assert said.status == QUOTA
    assert "room" in said.error or "full" in said.error
    assert said.fix
    assert not (processes.folder / "poor" / "here").exists()


def check_whole(store):
    """A pack that found room beside the one that did not is whole, and of use to the next push."""
    log = store / "log"  # of the audit trail
    files = [path for path in store.rglob("*") if path.is_file() and log not in path.parents]

    assert [path for path in files if path.parent.parent.name != "blobs"] == []
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.parent.name


class Said:
    """How a command ended, and the lines that people read then."""

    def __init__(self, running):
        self.status = running.wait()
        self.text = running.errors
        lines = self.text.splitlines()
        self.error = next((line for line in lines if line.startswith("error: ")), "")
        self.fix = next((line for line in lines if line.startswith("fix: ")), "")


def ended(running):
    """Wait for the end; whatever it was, it was no crash and said one error."""
    said = Said(running)
    assert "Traceback" not in said.text
    assert said.error, said.text
    assert len(said.text.splitlines()) <= 4, said.text
    return said


def check_full(said):
    assert said.status == QUOTA
    assert "no room" in said.error
    assert "deltareg gc" in said.fix


def delta(processes, number):
    return payload(processes.folder / "payloads", number)


def push(processes, server, *options, url=None, token=None, base="tiny", **variables):
    return processes.deltareg(
        "push",
        str(delta(processes, 2)),
        "lab/x",
        "--base",
        base,
        *options,
        server=url or server.url,
        token=server.token if token is None else token,
        **variables,
    )


def push_big(processes, server, tuned, *, url=None):
    return processes.deltareg(
        "push", str(tuned), "lab/big", "--base", "big", server=url or server.url, token=server.token
    )


def register(processes, server, base):
    with server.client(processes.folder / "cache") as client:
        client.bases.register(base, "big")


def api():
    return (sys.executable, "-m", "deltareg.api", "run")


@contextmanager
def small_disk(folder):
    """Mount a file system in memory that is soon full, where that is allowed."""
    folder.mkdir()
    options = f"size={LIMIT_BYTES},mode=700"
    mount = ("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
