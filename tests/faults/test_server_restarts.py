"""The API server restarted, in order and by force, beside pushes and pulls: no command fails."""

import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.payloads import BASE, content, payload

SEED = int(os.environ.get("DELTAREG_TEST_SEED", "7"))
AT_ONCE = 6


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_restarts_of_the_server_fail_nobody(processes, figures):
    run(processes, figures, pushes=5, pulls=7, every_s=1.5)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_many_restarts_of_the_server_fail_nobody(programs, figures):
    run(programs, figures, pushes=60, pulls=200, every_s=5.0)


def run(processes, figures, *, pushes, pulls, every_s):
    server = processes.api(port=free_port()).start()
    with server.client(processes.folder / "cache") as client:
        client.bases.push(BASE, "tiny")
        client.push(payload(processes.folder / "payloads", 0), "lab/first", base="tiny")
    commands = Commands(processes, server)
    jobs = [(commands.push, number) for number in range(1, pushes + 1)]
    jobs += [(commands.pull, number) for number in range(1, pulls + 1)]
    random.Random(SEED).shuffle(jobs)

    with restarted(server, every_s) as restarts, ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda job: job[0](job[1]), jobs))
        while not restarts.count:  # a quick machine is done before the first
            pulls += 1
            commands.pull(pulls)

    ended = dict(commands.ended)
    figures(f"{restarts.count} restarts", ", ".join(f"{n} {name}" for name, n in ended.items()))
    figures("the longest", f"push {commands.longest['push']:.1f} s, pull {commands.longest['pull']:.1f} s")
    assert commands.wrong == [], f"seed {SEED}; again: DELTAREG_TEST_SEED={SEED}"
    assert ended == {"push": pushes, "pull": pulls}
    assert restarts.count >= 1
    with server.client(processes.folder / "after") as client:
        lines = [f"lab/line-{number}" for number in range(1, pushes + 1)]
        assert [len(client.versions.list(line).items) for line in lines] == [1] * pushes
        assert client.storage.fsck(read_data=True).findings == []


class Commands:
    """Runs `deltareg` and notes how it ended."""

    def __init__(self, processes, server):
        self._processes, self._server, self._token = processes, server, server.token
        self._lock = threading.Lock()
        self.ended: Counter[str] = Counter()
        self.longest = {"push": 0.0, "pull": 0.0}
        self.wrong: list[str] = []

    def push(self, number):
        """Push a delta to a line of its own."""
        folder = payload(self._processes.folder / "payloads", SEED * 1000 + number)
        self._run("push", number, str(folder), f"lab/line-{number}", "--base", "tiny")

    def pull(self, number):
        """Pull into a cache of its own, and look at what came."""
        to = self._processes.folder / "pulled" / str(number)
        self._run("pull", number, "lab/first:v1", "--to", str(to))
        if content(to) != content(payload(self._processes.folder / "payloads", 0)):
            self.wrong.append(f"pull {number} brought other bytes")

    def _run(self, verb, number, *words):
        began = time.monotonic()
        running = self._processes.deltareg(
            verb, *words, server=self._server.url, token=self._token, home=f"{verb}-{number}", DELTAREG_PATIENCE="30s"
        )
        status = running.wait(300)
        with self._lock:
            self.longest[verb] = max(self.longest[verb], time.monotonic() - began)
            if status:
                self.wrong.append(f"{verb} {number} ended with {status}: {running.errors}")
            else:
                self.ended[verb] += 1


class restarted:  # noqa: N801  # reads as what it does to a server
    """Restarts a server every so often while the block lasts: in order, then by force, again."""

    def __init__(self, server, every_s):
        self._server, self._every_s = server, every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._restart)
        self.count = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _restart(self):
        while not self._ended.wait(self._every_s):
            number = (signal.SIGTERM, signal.SIGKILL)[self.count % 2]
            self._server.process.send(number)
            self._server.process.wait()
            self._server.start()
            self.count += 1


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
