"""A pool on a real Ray: keepers are killed, a node dies, and each verification ends once."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fixtures.processes import until
from tests.pool.queued import QueuedRegistry
from tests.pool.slurm_cluster import pids_of, with_descendants

FIRST, VERSIONS, MOST = 40, 50, 3
OF_AGENTS = ("dashboard-agent-grpc", "dashboard-agent-listen", "runtime-env-agent", "metrics-export")
ACTORS = """
import ray
ray.init(address={address!r}, namespace="deltareg", log_to_driver=False, logging_level="error")
print(len(ray.util.list_named_actors()))
"""

pytestmark = [
    pytest.mark.soak,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("ray") is None, reason="no Ray here: pip install ray"),
]


def free_ports(count):
    """Give ports that nobody listens at now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


class RayCluster:
    """A head and a node, each a raylet with processes of its own."""

    def __init__(self, processes, folder):
        self.processes, self.nodes = processes, {}
        self.environ = processes.environ("ray", RAY_USAGE_STATS_ENABLED="0", RAY_DISABLE_IMPORT_WARNING="1")
        self.address = "127.0.0.1:26379"
        self.start("head", "--head", "--port=26379", "--include-dashboard=false", f"--temp-dir={folder}")
        until(lambda: self.actors() is not None, "the head answers", timeout_s=300)

    def start(self, name, *words):
        """Start a node with two processors; its processes are marked with its name."""
        environ = self.environ | {"RAY_TEST_NODE": name}
        line = [
            sys.executable,
            "-c",
            "from ray.scripts.scripts import main; main()",
            "start",
            "--block",
            "--num-cpus=2",
        ]
        line += ["--num-gpus=0", "--object-store-memory=100000000", "--node-ip-address=127.0.0.1", *words]
        # A raylet waits 15 s for ports that its agent would choose, and dies; on a busy machine the agent is later.
        line += [f"--{each}-port={port}" for each, port in zip(OF_AGENTS, free_ports(len(OF_AGENTS)), strict=True)]
        self.nodes[name] = self.processes.start(f"ray-{name}", *line, environ=environ)

    def kill(self, name):
        """End a node as a power cut would."""
        own = with_descendants(pids_of(f"RAY_TEST_NODE={name}"))
        for pid in own:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(own)

    def actors(self):
        line = [sys.executable, "-c", ACTORS.format(address=self.address)]
        try:
            ended = subprocess.run(line, env=self.environ, capture_output=True, text=True, check=False, timeout=100)
        except subprocess.TimeoutExpired:
            return None
        return int(ended.stdout) if ended.returncode == 0 else None


@pytest.fixture
def cluster(programs):
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # its sockets need a short path
    running = RayCluster(programs, folder)
    running.start("node", f"--address={running.address}")
    yield running
    for name in running.nodes:
        running.kill(name)
    shutil.rmtree(folder, ignore_errors=True)


def workers():
    """Find the supervisors of workers that actors have started."""
    found = set()
    for pid in pids_of("RAY_TEST_NODE=head") | pids_of("RAY_TEST_NODE=node"):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"deltareg_verify" in words and b"run" in words and b"--with-parent" in words:
                found.add(pid)
    return found


class Watch(threading.Thread):
    """Looks all the time, and remembers how many workers there were at most.

    One counts that is there for a second look: another may begin while one that was told to end does so.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.is_over = 0, threading.Event()

    def run(self):
        before = workers()
        while not self.is_over.wait(1.0):
            now = workers()
            self.most, before = max(self.most, len(now & before)), now


def test_keepers_and_a_node_die_and_every_verification_ends_once(processes, postgresql_url, cluster, figures):
    registry = QueuedRegistry(processes, postgresql_url, FIRST)
    chance = random.Random(11)
    words = ["ray", "--most", str(MOST), "--idle", "4s", "--every", "0.5s", "--address", cluster.address]
    watch, began = Watch(), time.monotonic()
    watch.start()

    for _ in range(4):  # each is killed at another moment of its first looks
        keeper = registry.keeper(*words)
        time.sleep(chance.uniform(2.0, 6.0))
        keeper.kill()
    keeper = registry.keeper(*words)
    until(lambda: registry.left() < FIRST - 3, "workers work", timeout_s=300, pause_s=0.5)
    killed = cluster.kill("node")
    cluster.start("node", f"--address={cluster.address}")
    for more in (range(0), range(FIRST, VERSIONS)):  # they go, and come again
        registry.push(more)
        until(lambda: registry.left() == 0, "all runs are over", timeout_s=1200, pause_s=0.5)
        until(lambda: not workers(), "the workers have gone", timeout_s=120, pause_s=0.5)

    watch.is_over.set()
    figures("ray", f"{len(registry.runs())} runs in {time.monotonic() - began:.0f} s")
    states = Counter((run.what, run.state, run.verdicts) for run in registry.runs())
    keeper.send(signal.SIGTERM)
    keeper.wait()
    assert killed > 2
    assert watch.most == MOST
    assert states == {("verify", "done", 1): VERSIONS}
    assert cluster.actors() == 0
