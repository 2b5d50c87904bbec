"""What others notice of a hostile client: `python tests/benchmarks/bench_overload.py`.

A real server process on loopback with a soft limit of 1,024 open files. Beside it, one after the other and then all at
once: 1,100 sockets whose headers never end, 32 packs that come a byte at a time, 60 threads that ask for the dearest
lists, four manifests of 100 MiB, documents that are just short enough, and 2,000 bad tokens a minute. The attackers are
programs at the lowest priority, as if on another machine. Meanwhile a probe asks `/livez` and `/readyz` twenty times a
second, each over a new connection, and another team pushes, verifies (a worker that is played, without the checks) and
rolls back. Memory is the server's highest resident set, as the kernel counts it.
"""

import argparse
import http.client
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from safetensors.numpy import load_file, save_file

from deltareg.client import Client, ClientConfig, WorkerClient
from deltareg.wire import LeaseRequest, RunCreate, Scope, TokenCreate
from tests.benchmarks import page
from tests.benchmarks.overload_attacks import ATTACKS
from tests.fixtures.processes import Processes, until
from tests.fixtures.registries import SAMPLES, report
from tests.signers import key_of

_ATTACK = Path(__file__).with_name("overload_attacks.py")
_BASE, _DELTA = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama" / "lora"
_LINE = "team/chat"
_HEAD = (
    f"{'beside':<14}{'livez p99':>10}{'readyz p99':>11}{'push':>8}{'verify':>8}{'rollback':>9}{'RSS MB':>8}  answers"
)
_SOFT = 1_024
TOGETHER = [name for name in ATTACKS if name != "documents"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each attack lasts")
    parser.add_argument("--only", nargs="*", default=[], help="these attacks, or all")
    page.add_option(parser)
    options = parser.parse_args()
    rows = [TOGETHER if name == "all" else name.split("+") for name in options.only or [*ATTACKS, "all"]]
    table = [_HEAD]
    print(_HEAD)
    with Scene() as scene:
        for attacks in rows:
            for beside in ([], attacks):  # quiet anew each time: what is there grows with each push
                line = scene.measure(beside, options.seconds)
                print(line, flush=True)
                table.append(line)
        print(scene.faults())
    page.write_docs(options, "overload", "\n".join(table))


class Scene:
    """The server, the attackers, and those who want to work."""

    def __enter__(self):
        self._open = ExitStack()
        self.folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="deltareg-bench-")))
        processes = Processes(self.folder)
        self._open.callback(processes.end)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_SOFT, hard))
        self.server = processes.api(data_dir=str(self.folder / "data")).start()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self._admin = self._open.enter_context(self.server.client(self.folder / "admin"))
        self._worker = self._open.enter_context(self._judge())
        self._admin.bases.push(_BASE, "tinyllama")
        self.bad, self.good = self._client("mallory"), self._client("ada")
        self.bad.push(_DELTA, "mallory/own", base="tinyllama")
        self._numbers = count(1)
        self._quiet: dict[str, float] = {}
        for _ in range(2):
            self.judge(self.push())
            self.good.promote(self.newest, "prod")
        return self

    def __exit__(self, *_):
        self._open.close()

    def _client(self, name):
        scopes: list[Scope] = ["read", "push", "promote"]
        token = self._admin.tokens.create(TokenCreate(principal=name, kind="pat", scopes=scopes, expires_in_s=86_400))
        config = ClientConfig(
            server=self.server.url, token=token.token, cache_dir=self.folder / f"cache-{name}", golden="never"
        )
        return self._open.enter_context(Client(config))

    def _judge(self):
        self._admin.keys.enrol("worker", str(key_of("worker").public), host="here")
        asked = TokenCreate(principal="worker", kind="wrk", scopes=["read", "verify"], everywhere=True)
        config = replace(self._admin.config, token=self._admin.tokens.create(asked).token)
        return WorkerClient(config, key=key_of("worker"), host="here")

    def push(self):
        """Push a version that nobody has."""
        number = next(self._numbers)
        folder = self.folder / f"delta-{number}"
        shutil.copytree(_DELTA, folder)
        noise = np.random.default_rng(number)
        for path in folder.glob("*.safetensors"):
            path.chmod(0o644)
            tensors = {k: (v + noise.normal(0, 1e-2, v.shape)).astype(v.dtype) for k, v in load_file(path).items()}
            save_file(tensors, path, {"format": "pt"})
        began = time.perf_counter()
        self.newest = self.good.push(folder, _LINE, base="tinyllama").version.ref
        self.took_s = time.perf_counter() - began
        return self.newest

    def judge(self, ref):
        """Take the runs of a version as a worker does, and report; gives the seconds."""
        began = time.perf_counter()
        run = self.good.runs.create(RunCreate(ref=ref, again=True)).id
        while (grant := self._worker.lease(LeaseRequest(worker="worker", what=["verify"]))) is not None:
            self._worker.complete_run(grant.run, report(grant))
            if grant.run == run:
                break
        return time.perf_counter() - began

    def roll_back(self):
        """Roll the channel back, and give the seconds."""
        began = time.perf_counter()
        self.good.rollback(_LINE, "prod", reason="measured")
        return time.perf_counter() - began

    def measure(self, attacks, seconds):
        """Work beside attacks for a while; gives the line of the table."""
        with self._attacked(attacks) as answers, Probe(self.server.url) as probe:
            time.sleep(min(3.0, seconds / 4))
            probe.begin()
            ends = time.monotonic() + seconds
            took: dict[str, list[float]] = {"push": [], "verify": [], "rollback": []}
            while time.monotonic() < ends or len(took["push"]) < 3:
                ref = self.push()
                took["push"].append(self.took_s)
                took["verify"].append(self.judge(ref))
                self.good.promote(ref, "prod")
                took["rollback"].append(self.roll_back())
                self.good.channels.clear_quarantine(_LINE, "prod", int(ref.rpartition(":v")[2]), reason="measured")
                time.sleep(0.2)
            told = answers()
        middle = {what: statistics.median(values) for what, values in took.items()}
        if not attacks:
            self._quiet = middle
        cells = "".join(f"{_cell(middle[what], self._quiet[what]):>{8 + (what == 'rollback')}}" for what in middle)
        name = "quiet" if not attacks else "+".join(one[:6] for one in attacks) if len(attacks) < 4 else "all"
        return (
            f"{name:<14}{probe.p99('/livez'):>7.0f} ms{probe.p99('/readyz'):>8.0f} ms{cells}{self.rss_mb():>8}  {told}"
        )

    @contextmanager
    def _attacked(self, attacks):
        running, told = [], {name: self.folder / f"{name}.json" for name in attacks}
        command = [sys.executable, str(_ATTACK)]
        for name, path in told.items():
            path.unlink(missing_ok=True)
            asked = [*command, name, str(self.server.port), self.bad.config.token, str(path)]
            running.append(subprocess.Popen(asked, stdin=subprocess.DEVNULL))
        until(lambda: all(path.exists() for path in told.values()), "the attackers have begun")
        try:
            yield lambda: " ".join(path.read_text() for path in told.values() if path.exists())
        finally:
            for one in running:
                one.kill()
                one.wait()
            time.sleep(1.0)

    def rss_mb(self):
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) >> 10

    def faults(self):
        """Give how often the server's log has a trace or a fault of ours."""
        log = self.server.process.errors
        return f"traces in the log: {log.count('Traceback')}, faults: {log.count('bug request=')}"


class Probe:
    """Asks for the server's health over new connections, twenty times a second."""

    def __init__(self, url):
        self._address, self._is_over = urlsplit(url).netloc, False
        self._seconds: dict[str, list[float]] = {"/livez": [], "/readyz": []}
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over = True
        self._thread.join()

    def begin(self):
        """Forget what was asked before."""
        for each in self._seconds.values():
            each.clear()

    def p99(self, path):
        """Give the 99th percentile in milliseconds; what is not answered in 5 s counts as 5 s."""
        return 1000 * float(np.quantile(self._seconds[path], 0.99))

    def _ask(self):
        while not self._is_over:
            for path, seconds in self._seconds.items():
                began = time.perf_counter()
                try:
                    with closing(http.client.HTTPConnection(self._address, timeout=5)) as connection:
                        connection.request("GET", path)
                        is_answered = connection.getresponse().status == 200
                except (OSError, http.client.HTTPException):
                    is_answered = False
                seconds.append(time.perf_counter() - began if is_answered else 5.0)
                time.sleep(0.025)


def _cell(seconds, quiet):
    return f"{seconds * 1000:.0f}" if seconds == quiet else f"{seconds / quiet:.2f} x"


if __name__ == "__main__":
    main()
