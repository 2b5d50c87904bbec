"""A rolling upgrade from the release before, under pushes: nobody notices, in whatever order it goes.

Servers of both releases have one database, and a balancer in front. Its routes (old, both, new),
the workers (old, both, new) and the agent change one after the other, so that every mixture comes;
the clients of both releases push and pull all the time.
"""

import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from deltareg.client import Client, ClientConfig
from tests.compat.releases import HERE, environ_of, module_of, release_before, unpack_release
from tests.compat.test_release_before import RELEASE
from tests.fixtures.databases import BOTH
from tests.fixtures.processes import until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3_600)]

DELTA = HERE / "tests" / "samples" / "deltas" / "tinyllama" / "lora"
BASE = HERE / "tests" / "samples" / "bases" / "tinyllama"
PUSHING = Path(__file__).with_name("pushing.py")
PER_MINUTE = float(os.environ.get("DELTAREG_TEST_PUSHES_PER_MINUTE", "20"))  # of both clients together
MIXTURES = (("before",), ("before", "here"), ("here",))
SLOW_S, DRAINED_S = 240.0, 3.0


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """Take the release before out of the history; give its sources."""
    folder = unpack_release(release_before(), tmp_path_factory.mktemp("before"))
    if folder is None:
        pytest.skip(f"needs the history of the project, with {release_before()}")
    return folder


class Balancer:
    """Listens on a port and leads each connection to one of `ports`, by turns; those of others are cut soon."""

    def __init__(self):
        self.ports, self._turn = [], 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self):
        self.ports = []
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(10)

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        self._turn += 1
        port, left_s = self.ports[self._turn % len(self.ports)], DRAINED_S
        with suppress(OSError), closing(client), closing(socket.create_connection(("127.0.0.1", port))) as server:
            ends = {client: server, server: client}
            while left_s > 0:
                for ready in select.select([client, server], [], [], 0.5)[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    ends[ready].sendall(data)
                left_s = DRAINED_S if port in self.ports else left_s - 0.5


class Site:
    """A registry with processes of two releases."""

    def __init__(self, folder, database_url, sources):
        self.folder, self.sources = folder, sources
        (folder / "data").mkdir()
        self.database_url = database_url or f"sqlite:///{folder / 'data' / 'registry.db'}"
        self.balancer = Balancer()
        self.token = ""
        self.running = {}

    def environ(self, release, **variables):
        own = {"DELTAREG_SERVER": self.balancer.url, "DELTAREG_DATABASE_URL": self.database_url, **variables}
        own |= {"DELTAREG_DATA_DIR": str(self.folder / "data")}
        own |= {"DELTAREG_TOKEN": self.token} if self.token and "DELTAREG_TOKEN" not in variables else {}
        return environ_of(self.sources[release], self.folder / "home", **own)

    def start(self, name, release, *command, **variables):
        with (self.folder / f"{name}.log").open("a") as out:
            self.running[name] = subprocess.Popen(
                module_of(*command),
                env=self.environ(release, **variables),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
            )

    def stop(self, name):
        process = self.running.pop(name)
        if process.stdin is not None:
            process.stdin.close()
        process.send_signal(signal.SIGTERM)
        process.wait(60)

    def said(self, name):
        return (self.folder / f"{name}.log").read_text()

    def serve(self, release):
        """Start a server; give its port."""
        name = f"server-{release}"
        self.start(name, release, "deltareg.api", "run", "--port", "0")
        until(lambda: "listens on" in self.said(name), f"the server {release} is there", timeout_s=SLOW_S)
        return int(self.said(name).partition("listens on http://127.0.0.1:")[2].split()[0].strip(".,"))

    def migrate(self, *command):
        asked = module_of("deltareg_migrations", "--url", self.database_url, *command)
        done = subprocess.run(asked, env=self.environ("here"), capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        return done.stdout

    def cli(self, release, *args, text=None):
        asked = module_of("deltareg_cli", *args)
        done = subprocess.run(
            asked, env=self.environ(release), input=text, capture_output=True, text=True, check=False, cwd=self.folder
        )
        assert not done.returncode, (release, args, done.stdout, done.stderr)
        return done.stdout.strip()

    def work(self, releases):
        """Have the workers of some releases running and no others."""
        for release in ("before", "here"):
            name = f"worker-{release}"
            if release in releases and name not in self.running:
                self.start(
                    name,
                    release,
                    "deltareg_verify",
                    "run",
                    "--name",
                    name,
                    "--lease-wait",
                    "2",
                    "--gpu",
                    "cpu",
                    "--scratch",
                    str(self.folder / name),
                    DELTAREG_TOKEN=self.worker_token,
                    DELTAREG_WORKER_KEY_FILE=str(self.folder / "worker-key.pem"),
                    OMP_NUM_THREADS="1",
                )
            if release not in releases and name in self.running:
                self.stop(name)

    def follow(self, release):
        """Have the agent of a release running and no other."""
        other = {"before": "here", "here": "before"}[release]
        if f"agent-{other}" in self.running:
            self.stop(f"agent-{other}")
        if f"agent-{release}" not in self.running:
            command = ("agent", "run", "--channel", "me/chat@prod", "--dir", str(self.folder / "served"))
            self.start(f"agent-{release}", release, "deltareg_cli", *command)

    def enrol(self, release="before"):
        asked = module_of("deltareg_verify", "key", "--file", str(self.folder / "worker-key.pem"))
        key = subprocess.run(asked, env=self.environ("here"), capture_output=True, text=True, check=True).stdout.strip()
        self.worker_token = self.cli(
            release,
            *("token", "create", "--for", "worker", "--kind", "wrk", "--everywhere", "--quiet"),
            *("--scope", "read", "--scope", "verify", "--expires", "30d"),
        )
        self.cli(release, "worker", "enrol", "worker", "--key", key)

    def push_on(self):
        """Let a client of each release push all the time."""
        for name, release in (("old", "before"), ("new", "here")):
            out, err = self.folder / f"pushes-{name}", self.folder / f"pushes-{name}.log"
            with out.open("w") as told, err.open("w") as failed:
                self.running[f"pusher-{name}"] = subprocess.Popen(
                    [sys.executable, str(PUSHING), str(DELTA), name, str(120 / PER_MINUTE)],
                    env=self.environ(release),
                    stdin=subprocess.PIPE,
                    stdout=told,
                    stderr=failed,
                )

    def pushed(self):
        lines = [
            json.loads(line)
            for name in ("old", "new")
            for line in (self.folder / f"pushes-{name}").read_text().splitlines()
        ]
        return [line["ref"] for line in lines if "ref" in line], [line["failed"] for line in lines if "failed" in line]

    def end(self):
        for name in [*self.running]:
            process = self.running[name]
            with suppress(subprocess.TimeoutExpired):
                self.stop(name)
            if process.poll() is None:
                process.kill()
                process.wait(60)
        self.balancer.close()


@pytest.fixture(params=BOTH)
def site(request, tmp_path, before):
    url = "" if request.param == "sqlite" else request.getfixturevalue("empty_postgresql_url")
    made = Site(tmp_path, url, {"before": before, "here": HERE})
    yield made
    made.end()


def wait_for_verdict(client, ref):
    """Wait until a version has been judged; give the verdict."""

    def judged():
        with suppress(StopIteration):
            return next(verdict for verdict in client.verdicts.list(ref).items if verdict.suite == "smoke")
        return None

    return until(judged, f"{ref} is verified", timeout_s=SLOW_S).verdict


def test_nobody_notices_a_rolling_upgrade_in_whatever_order(site):
    asked = module_of("deltareg_migrations", "--url", site.database_url, "upgrade")
    subprocess.run(asked, env=site.environ("before"), check=True, capture_output=True)
    ports = {"before": site.serve("before")}
    site.balancer.ports = [ports["before"]]
    site.token = (site.folder / "data" / "admin-token").read_text().strip()
    site.cli("before", "base", "push", str(BASE), "tinyllama")
    site.enrol()
    site.work(("before",))
    site.push_on()
    site.migrate("upgrade")
    ports["here"] = site.serve("here")
    states = 0

    with Client(config=ClientConfig(server=site.balancer.url, token=site.token)) as client:
        for workers, routes, agent in walk(site.database_url.partition(":")[0]):
            site.work(workers)
            site.balancer.ports = [ports[release] for release in routes]
            release = ("before", "here")[states % 2]
            folder = changed(site.folder, states)
            site.cli(release, "push", str(folder), "me/chat", "--base", "tinyllama", "--no-golden")
            ref = f"me/chat:v{states + 1}"
            site.cli(release, "verify", ref, "--wait", "--timeout", f"{SLOW_S:.0f}s", "--priority", "high")
            if not states:
                site.cli(release, "channel", "create", "me/chat", "prod")
            site.follow(agent)
            site.cli(release, "promote", ref, "--channel", "prod")
            until(
                partial(is_served, site, ref), f"the agent serves {ref}: {workers} {routes} {agent}", timeout_s=SLOW_S
            )
            states += 1
            print(f"{time.strftime('%X')} {workers} {routes} agent={agent}: {len(site.pushed()[0])} pushed", flush=True)

        site.balancer.ports = [ports["here"]]
        site.stop("server-before")
        finished = site.migrate("finish")
        time.sleep(240 / PER_MINUTE)
        for name in ("pusher-old", "pusher-new"):
            site.running[name].stdin.close()
            site.running.pop(name).wait(120)
        refs, failed = site.pushed()
        verdicts = {ref: wait_for_verdict(client, ref) for ref in refs}
        dead = [run.id for run in client.runs.list(state="dead", limit=200).items if run.what == "verify"]
    print(f"{states} mixtures, {len(refs)} pushes, failed {failed}, dead {dead}; {finished}")
    assert failed == []
    assert dead == []
    assert set(verdicts.values()) == {"pass"}
    assert len(refs) > states


def test_a_worker_that_knows_less_takes_nothing_from_one_that_knows(tmp_path, tmp_path_factory):
    """It is of some releases before, does not know a parameter of smoke, and asks first."""
    older = unpack_release(RELEASE, tmp_path_factory.mktemp("older"))
    if older is None:
        pytest.skip(f"needs the history of the project, with {RELEASE}")
    site = Site(tmp_path, "", {"before": older, "here": HERE})
    try:
        site.migrate("upgrade")
        site.balancer.ports = [site.serve("here")]
        site.token = (site.folder / "data" / "admin-token").read_text().strip()
        site.cli("here", "base", "push", str(BASE), "tinyllama")
        site.enrol("here")
        site.work(("before",))
        until(lambda: "proof=proven" in site.said("worker-before"), "it works", timeout_s=SLOW_S)
        for number in range(5):
            folder = changed(site.folder, number)
            site.cli("here", "push", str(folder), f"me/one-{number}", "--base", "tinyllama", "--no-golden")
        until(lambda: "has no key" in site.said("worker-before"), "it met what it does not know", timeout_s=SLOW_S)
        with Client(config=ClientConfig(server=site.balancer.url, token=site.token)) as client:
            until(partial(waits_for_words, client), "they say for what they wait", timeout_s=SLOW_S)
            site.work(("before", "here"))
            verdicts = [wait_for_verdict(client, f"me/one-{number}:v1") for number in range(5)]
            attempts = [run.attempt for run in client.runs.list(limit=100).items if run.what == "verify"]
            said = len(client.verdicts.list(limit=100).items)
    finally:
        site.end()
    print(f"{verdicts}, attempts {attempts}, met {site.said('worker-before').count('has no key')} times")
    assert verdicts == ["pass"] * 5
    assert attempts == [1] * 5
    assert said == 5


def waits_for_words(client):
    """Whether a run that waits says what no worker knows."""
    return any("no worker that runs now knows check" in run.unserved for run in client.runs.queue().items)


def walk(database):
    """Yield every mixture of workers and routes, each a step from the one before, and both agents by turns.

    An agent begins that differs by database, so that over both each mixture has had each agent.
    """
    for number, workers in enumerate(MIXTURES):
        for inner, routes in enumerate(MIXTURES if number % 2 == 0 else MIXTURES[::-1]):
            agents = ("before", "here") if database == "sqlite" else ("here", "before")
            yield workers, routes, agents[(3 * number + inner) % 2]


def changed(folder, number):
    """Give another delta for each number."""
    to = folder / f"delta-{number}"
    shutil.copytree(DELTA, to)
    (file,) = to.glob("*.safetensors")
    raw = bytearray(file.read_bytes())
    raw[-4:] = struct.pack("<f", -(number + 1) / 1e6)
    file.write_bytes(raw)
    return to


def is_served(site, ref):
    """Whether the agent serves a version."""
    with suppress(OSError):
        return (
            (site.folder / "served" / "current")
            .readlink()
            .name.startswith(ref.replace("/", "--").replace(":", "--") + "-")
        )
    return False
