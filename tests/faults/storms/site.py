"""A whole site: two servers over a database with a standby and an S3 server, workers, provers, an agent.

Whatever ends is started again a moment later, as an operating system would. All that processes say to each
other goes by links, which a storm breaks; each server, prover and the agent has a disk of its own.
"""

import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import deltareg_migrations
from deltareg.client import Client, ClientConfig
from deltareg.wire import TokenCreate
from tests.faults.payloads import BASE
from tests.faults.storms.links import Link, StoreLink
from tests.faults.storms.postgresql import Pair
from tests.fixtures.processes import API, until
from tests.signers import key_of

SERVERS = ("server-1", "server-2")
WORKER = Path(__file__).parents[1] / "worker.py"
DISK_BYTES, DATABASE_DISK_BYTES = 48 << 20, 600 << 20
CHANNEL = "lab/served@prod"
_SETTINGS = {
    "lease_s": 10,
    "upload_grace_s": 120,
    "deleted_days": 20 / 86_400,
    "form_days": 20 / 86_400,
    "database_connections": 15,
    "log_level": "info",
}


class Site:
    """The processes of a registry, kept running; a context manager.

    Attributes:
        links: All lines, by who speaks over them.
        disks: The folders that are small file systems, by whose they are.
        clocks: The files that move a process's clock, by whose it is.
        daemons: What runs now, by name.
        commands: What people have started and wait for, by who they are.
        restarts: How often something was started again, by name.
    """

    def __init__(self, processes, programs, endpoint, bucket, folder, *, seed):
        self.processes, self.programs = processes, programs
        self.endpoint, self.bucket, self.folder, self.seed = endpoint, bucket, folder, seed
        self.links, self.disks, self.clocks, self.daemons, self.restarts = {}, {}, {}, {}, {}
        self.commands = {}
        self.backup_command = (*API[:-1], "backup")
        self.ended = threading.Event()
        self.token = ""
        self._starts = {}
        self._open = ExitStack()
        self._faketime = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)

    def __enter__(self):
        with self._open:
            self._start_database()
            self._start_servers()
            self._start_workers()
            for name in self._starts:
                if name not in self.daemons:
                    self.daemons[name] = self._starts[name]()
            for keep in (self._keep_up, self._keep_a_standby):
                thread = threading.Thread(target=keep, daemon=True)
                thread.start()
                self._open.callback(thread.join, 60)
            self._open.callback(self.ended.set)
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_):
        self._open.close()

    def client(self, cache, **settings):
        """Make a client of the admin, by the line that clients have."""
        known = {"server": self.links["clients"].url, "token": self.token, "cache_dir": cache, "golden": "never"}
        return Client(ClientConfig(**known | {"retries": 2, "patience_s": 8.0, "timeout_s": 20.0} | settings))

    def environ_of_server(self, name, **variables):
        """Give the settings of a server, as whoever makes its backups has them."""
        return self._server(name)._environ | variables

    def heal(self):
        """Let every line pass and every clock be right."""
        for link in self.links.values():
            link.mode = ""
            if isinstance(link, StoreLink):
                link.faults, link.share = (), 0.0
        for name in self.clocks:
            self.move_clock(name, 0)

    def move_clock(self, name, seconds):
        """Put a clock forward or back, from its right time."""
        draft = self.clocks[name].with_suffix(".draft")
        draft.write_text(f"{seconds:+d}\n")
        draft.chmod(0o644)
        draft.rename(self.clocks[name])

    def mount(self, name, size_bytes=DISK_BYTES):
        """Give a folder that is a small file system in memory."""
        folder = self.folder / name
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=755", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("needs the right to mount a tmpfs")
        self._open.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
        self.disks[name] = folder
        return folder

    def _start_database(self):
        folder = self.folder / "pg"
        folder.mkdir(mode=0o755)
        for place in ("pg/a", "pg/b"):
            self.mount(place, DATABASE_DISK_BYTES)
        self.pair = Pair(folder, self._clock("database")).start()
        self._open.callback(self.pair.stop)
        deltareg_migrations.upgrade(self.pair.url)

    def _start_servers(self):
        store = urlsplit(self.endpoint.url).port
        for number, name in enumerate(SERVERS):
            self._link(f"{name} to database", Link(self.pair.link.port))
            self._link(f"{name} to store", StoreLink(store, seed=self.seed + number))
            self._keep(name, lambda name=name: self._start_server(name))
            self.mount(name)
        ports = [free_port() for _ in SERVERS]
        for who in ("clients", "workers", "agent"):
            self._link(who, Link(*ports))
        self._ports = dict(zip(SERVERS, ports, strict=True))
        for name in SERVERS:
            self.daemons[name] = self._starts[name]()
            until(lambda name=name: self.is_ready(name), f"{name} is ready", timeout_s=300)
        self.token = (self.folder / SERVERS[0] / "data" / "admin-token").read_text().strip()

    def is_ready(self, name):
        """Tell whether a server says that it can do its work."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self._ports[name]}/readyz", timeout=10).is_success
        return False

    def _start_workers(self):
        with self.client(self.folder / "first-cache") as client:
            client.bases.push(BASE, "tiny")
            client.keys.enrol("worker", str(key_of("worker").public), host="here")
            request = TokenCreate(principal="worker", kind="wrk", scopes=["read", "verify"], everywhere=True)
            token = client.tokens.create(request).token
        environ = {"DELTAREG_SERVER": self.links["workers"].url, "DELTAREG_TOKEN": token}
        for name in ("worker-1", "worker-2"):
            own = self.processes.environ(name, **environ)
            command = (sys.executable, str(WORKER), name, "0.5", "5")
            self._keep(
                name, lambda name=name, own=own, command=command: self._started(self.processes, name, command, own)
            )
        for name in ("prover-1", "prover-2"):
            scratch = self.mount(name)
            own = self.programs.environ(name, **environ, DELTAREG_WORKER_ONLY="prove reencode", OMP_NUM_THREADS="1")
            proving = (
                *(sys.executable, "-m", "deltareg_verify", "run", "--name", name, "--lease-wait", "5"),
                *("--gpu", "cpu", "--scratch", str(scratch / "scratch")),
            )
            self._keep(
                name, lambda name=name, own=own, command=proving: self._started(self.programs, name, command, own)
            )
        served = self.mount("agent")
        own = self.programs.environ("agent", DELTAREG_SERVER=self.links["agent"].url, DELTAREG_TOKEN=self.token)
        following = (
            *(sys.executable, "-m", "deltareg_cli", "agent", "run", "--channel", CHANNEL),
            *("--dir", str(served / "served"), "--name", "agent"),
        )
        self._keep("agent", lambda: self._started(self.programs, "agent", following, own))

    def _start_server(self, name):
        server = self._server(name)
        return self.programs.start(name, *API, environ=server._environ)

    def _server(self, name):
        (self.folder / name / "tmp").mkdir(exist_ok=True)
        environ = {"TMPDIR": str(self.folder / name / "tmp"), **self._clock(name)}
        made = self.programs.api(
            name,
            database_url=self._by(f"{name} to database"),
            store_url=f"s3://{self.bucket}/registry",
            s3_endpoint_url=self.links[f"{name} to store"].url,
            s3_access_key_id=self.endpoint.access_key_id,
            s3_secret_access_key=self.endpoint.secret_access_key,
            port=self._ports[name],
            **_SETTINGS,
        )
        made._environ |= environ
        return made

    def _by(self, link):
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.links[link].port}/postgres"

    def _clock(self, name):
        """Give what makes a process's clock one that a file moves; nothing where that is not installed."""
        if self._faketime is None:
            return {}
        self.clocks[name] = self.folder / f"{name}.clock"
        if not self.clocks[name].exists():
            self.move_clock(name, 0)
        return {
            "LD_PRELOAD": str(self._faketime),
            "FAKETIME_TIMESTAMP_FILE": str(self.clocks[name]),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }

    def _link(self, name, link):
        self.links[name] = self._open.enter_context(link)

    def _keep(self, name, start):
        self._starts[name] = start
        self.restarts[name] = 0

    @staticmethod
    def _started(kept, name, command, environ):
        return kept.start(name, *command, environ=environ)

    def _keep_up(self):
        while not self.ended.wait(1.5):
            for name, daemon in list(self.daemons.items()):
                if daemon.status is not None and not self.ended.is_set():
                    self.daemons[name] = self._starts[name]()
                    self.restarts[name] += 1

    def _keep_a_standby(self):
        while not self.ended.wait(2.0):
            with suppress(Exception):  # tried again; that it comes back in the end is looked at
                if self.pair.revive():
                    self.restarts["postgresql"] = self.restarts.get("postgresql", 0) + 1
                if not self.pair.is_ready:
                    self.pair.add_standby()


def free_port():
    """Let the kernel choose a port that nobody listens on."""
    link = Link()
    link._listener.close()
    return link.port
