"""Workers that are killed, frozen or idle in numbers, as real processes over real HTTP.

`make test` queues runs enough for every worker to be at work when it is hit; `make soak` has more.
"""

import signal
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from tests.faults.ledger import Ledger
from tests.faults.payloads import BASE, payload
from tests.fixtures.processes import until

HERE = Path(__file__).parent
VERSIONS = [10, pytest.param(33, marks=pytest.mark.soak)]
SUITES, WORKERS = ("smoke", "static", "deep"), 3  # a push queues the first
CROWD = 60  # more than the server has threads
LOOKS = [60, pytest.param(200, marks=pytest.mark.soak)]
LEASE_S, WORK_S = 2.0, 0.2


@dataclass(frozen=True)
class Step:
    """A line of a worker: what it did, when, to which run under which fence."""

    worker: int
    name: str
    at: float
    run: str
    fence: int


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("versions", VERSIONS)
def test_a_killed_and_a_frozen_worker_lose_nothing(processes, database_url, figures, versions):
    server = processes.api(database_url=database_url, lease_s=LEASE_S).start()
    queue(server, processes.folder, versions)
    environ = worker_environ(processes, server)
    workers = [
        processes.start(f"w{n}", sys.executable, str(HERE / "worker.py"), f"w{n}", str(WORK_S), "5", environ=environ)
        for n in range(WORKERS)
    ]

    killed = hit(workers, 0, signal.SIGKILL)
    frozen = hit(workers, 1, signal.SIGSTOP)
    takeovers = [
        until(lambda lost=lost: taken_over(workers, lost), "the run is another worker's") for lost in (killed, frozen)
    ]
    workers[1].send(signal.SIGCONT)
    with closing(Ledger(database_url)) as ledger:
        is_over = lambda: all(run.state == "done" for run in ledger.runs())  # noqa: E731
        until(is_over, "all runs are done", pause_s=0.1)
        runs = ledger.runs()
    until(lambda: "lost" in [s.name for s in steps(workers) if s.run == frozen.run], "it is told")

    for name, lost, taken in zip(("killed", "frozen"), (killed, frozen), takeovers, strict=True):
        figures(f"takeover from the {name} worker", f"{taken.at - lost.at:.2f} s, lease {LEASE_S} s")
    expected = {run.id for run in runs if run.id != killed.run}
    # A run is done at the registry a moment before its worker says so.
    until(lambda: expected <= set(completed(workers)), "every worker says what it completed")
    accepted = completed(workers)
    assert len(runs) == versions * len(SUITES)
    assert [run.id for run in runs if run.verdicts != 1] == []
    assert [run for run, times in accepted.items() if times != 1] == []
    assert taken_over(workers, frozen).fence > frozen.fence


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("looks", LOOKS)
def test_a_crowd_of_waiting_workers_leaves_the_server_ready(processes, database_url, figures, looks):
    server = processes.api(database_url=database_url).start()
    environ = worker_environ(processes, server)
    crowd = processes.start("crowd", sys.executable, str(HERE / "crowd.py"), str(CROWD), environ=environ)
    with closing(Ledger(database_url)) as ledger:
        until(lambda: ledger.workers() == CROWD, "all have asked for work")

    seconds = []
    with httpx.Client() as client:
        for _ in range(looks):
            began = time.perf_counter()
            assert client.get(server.url + "/readyz").is_success
            seconds.append(time.perf_counter() - began)
            time.sleep(0.02)  # looks for seconds; nothing is expected of it

    median, worst = statistics.median(seconds) * 1000, max(seconds) * 1000
    p95 = statistics.quantiles(seconds, n=20)[-1] * 1000
    figures(
        f"/readyz beside {CROWD} waiting workers", f"median {median:.1f} ms, p95 {p95:.1f} ms, worst {worst:.1f} ms"
    )
    assert crowd.status is None, crowd.errors
    assert median < 1000


def queue(server, folder, count):
    """Push so many versions, and queue a verification of each by every suite."""
    with server.client(folder / "cache") as client:
        client.bases.push(BASE, "tiny")

        def push(number):
            pushed = client.push(payload(folder, number), f"lab/line-{number % 10}", base="tiny")
            for suite in SUITES[1:]:
                client.verify(pushed.version.ref, suite=suite)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(push, range(count)))


def worker_environ(processes, server):
    token = server.worker_token(processes.folder / "cache")
    return processes.environ("workers", DELTAREG_SERVER=server.url, DELTAREG_TOKEN=token)


def steps(workers):
    """List what all workers have told so far, in the order of time."""
    found = [
        Step(number, name, float(at), run, int(fence))
        for number, worker in enumerate(workers)
        for name, at, run, fence, *_ in map(str.split, whole_lines(worker))
        if name != "ready"
    ]
    return sorted(found, key=lambda step: step.at)


def completed(workers):
    """Count how often each run was completed, as the workers tell it."""
    return Counter(step.run for step in steps(workers) if step.name == "completed")


def whole_lines(worker):
    lines = worker.output.split("\n")[:-1]
    return [line for line in lines if len(line.split()) >= 4]


def hit(workers, number, sign):
    """Stop or kill a worker that has a run and has not reported it; gives what it held."""
    while True:
        until(lambda: last_step(workers, number, "leased"), "the worker has a run", pause_s=0.01)
        workers[number].send(signal.SIGSTOP)
        lease = last_step(workers, number, "leased")
        if lease is not None:
            workers[number].send(sign)
            return replace(lease, at=time.time())
        workers[number].send(signal.SIGCONT)  # it was quicker


def last_step(workers, number, name):
    """Give the worker's last step if it is of that name and not its first ones."""
    own = [step for step in steps(workers) if step.worker == number]
    return own[-1] if len(own) > 6 and own[-1].name == name else None


def taken_over(workers, lost):
    later = (
        step for step in steps(workers) if step.name == "leased" and step.run == lost.run and step.fence > lost.fence
    )
    return next(later, None)
