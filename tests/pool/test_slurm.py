"""A pool on a real Slurm: keepers are killed, a node dies, and each verification ends once."""

import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.fixtures.processes import until
from tests.pool.queued import QueuedRegistry
from tests.pool.slurm_cluster import pids_of, slurm_cluster, why_not

FIRST, VERSIONS, MOST = 40, 50, 3
_WHY_NOT = why_not()

pytestmark = [
    pytest.mark.soak,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT),
]


@pytest.fixture
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    with slurm_cluster(folder) as running:
        yield running
    shutil.rmtree(folder)


class Watch(threading.Thread):
    """Looks at the cluster all the time, and remembers the most tasks that could run at once."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.most, self.seen, self.is_over = cluster, 0, set(), threading.Event()

    def run(self):
        while not self.is_over.wait(0.1):
            tasks = [task for task in self.cluster.tasks() if task[1] != "CG" and task[2] != "JobHeldUser"]
            self.most = max(self.most, len(tasks))
            self.seen |= {task[0] for task in tasks if task[1] == "R"}


def test_keepers_and_a_node_die_and_every_verification_ends_once(processes, sqlite_url, cluster, figures):
    registry = QueuedRegistry(processes, sqlite_url, FIRST)
    watch, chance = Watch(cluster), random.Random(7)
    words = ["slurm", "--most", str(MOST), "--idle", "4s", "--every", "0.5s", "--sbatch=--cpus-per-task=1"]
    watch.start()
    began = time.monotonic()

    for _ in range(12):  # each is killed at another moment of its first looks
        keeper = registry.keeper(*words, **cluster.environ)
        time.sleep(chance.uniform(0.2, 2.5))
        keeper.kill()
    keeper = registry.keeper(*words, **cluster.environ)
    second = registry.keeper(*words, "--once", **cluster.environ)
    second.wait()
    until(lambda: registry.left() < FIRST - 3, "workers work", timeout_s=300, pause_s=0.5)
    until(lambda: any(task[3] == "n2" and task[1] == "R" for task in cluster.tasks()), "n2 works", timeout_s=300)
    killed = cluster.kill("n2")
    time.sleep(10)  # longer than Slurm takes to notice
    cluster.start("n2")
    for more in (range(0), range(FIRST, VERSIONS)):  # they go, and come again
        registry.push(more)
        until(lambda: registry.left() == 0, "all runs are over", timeout_s=1200, pause_s=0.5)
        until(lambda: cluster.tasks() == [], "the workers have gone", timeout_s=120, pause_s=0.5)

    figures("slurm", f"{len(registry.runs())} runs in {time.monotonic() - began:.0f} s, {len(watch.seen)} tasks")
    watch.is_over.set()
    states = Counter((run.what, run.state, run.verdicts) for run in registry.runs())
    keeper.send(signal.SIGTERM)
    keeper.wait()
    assert "another process keeps this pool" in second.errors
    assert killed > 0
    assert watch.most <= MOST
    assert {state for _, state, _ in states} == {"done"}
    assert states["verify", "done", 1] == VERSIONS
    assert pids_of("SLURM_JOB_NAME=deltareg-main") == set()
