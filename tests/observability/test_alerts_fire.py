"""Each alert fires once on purpose: a real Prometheus, a real server on a small disk, a real PostgreSQL, real faults.

One fault is put in as a row: verdicts that two workers disagree about.
What stands in the rules as hours is seconds here (`real_prometheus.shorten`).
"""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from deltareg.client import ClientConfig, WorkerClient
from deltareg.errors import DeltaregError
from deltareg.wire import API, AgentReport, LeaseRequest, RunFailure, TokenCreate
from deltareg.wire.fleet import Observed
from tests.faults import worker as scripted_worker
from tests.faults.payloads import BASE, payload
from tests.faults.test_restarts import own_postgresql
from tests.fixtures.processes import Running, until
from tests.observability.real_prometheus import DEPLOY, SHORT_S, prometheus, rules
from tests.proving import prove_all
from tests.signers import key_of

pytestmark = [pytest.mark.soak, pytest.mark.postgres, pytest.mark.timeout(900)]
DISK_MIB = 400


@contextmanager
def small_disk(folder):
    """Mount a small disk in a folder while the block lasts."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


class Scene:
    """A server that is watched, and what can be done to it."""

    worker: Running
    held: threading.Thread

    def __init__(self, processes, postgresql, disk, port):
        self.processes, self.postgresql, self.disk = processes, postgresql, disk
        self.server = processes.api(
            database_url=postgresql.url,
            data_dir=disk / "data",
            store_url=(disk / "blobs").as_uri(),
            port=port,
            database_connections=4,
            webhook_networks="127.0.0.0/8",
            webhook_key=self._box(processes.folder),
        ).start()
        self.engine = sa.create_engine(postgresql.url)
        self._numbers = iter(range(1, 10**6))
        with self.client() as client:
            client.keys.enrol("worker", str(key_of("worker").public), host="here")
            asked = {"worker": ["read", "verify"], "host": ["read", "serve"], "ada": ["read", "push"]}
            self.tokens = {
                name: client.tokens.create(
                    TokenCreate.model_validate(
                        {
                            "principal": name,
                            "kind": "wrk" if name == "worker" else "pat",
                            "scopes": scopes,
                            "everywhere": True,
                        }
                    )
                ).token
                for name, scopes in asked.items()
            }
        # Not by the admin: nobody proves what somebody behind them pushed.
        with self.client(self.tokens["ada"]) as client:
            client.bases.push(BASE, "tiny")

    def _box(self, folder):
        path = folder / "box"
        path.write_text("A" * 43 + "=\n")
        path.chmod(0o600)
        return path

    def client(self, token=None):
        return self.server.client(self.processes.folder / "caches" / str(next(self._numbers)), token=token)

    def push(self, line="lab/chat"):
        number = next(self._numbers)
        with self.client(self.tokens["ada"]) as client:
            return client.push(payload(self.processes.folder / "payloads", number), line, base="tiny").version.ref

    def start_worker(self):
        environ = self.processes.environ(
            "worker", DELTAREG_SERVER=self.server.url, DELTAREG_TOKEN=self.tokens["worker"]
        )
        line = (sys.executable, scripted_worker.__file__, "w", "0.02", "2")
        self.worker = self.processes.start("worker", *line, environ=environ)

    def stop_worker(self):
        self.worker.kill()

    def as_worker(self):
        cache = self.processes.folder / "caches" / "worker"
        config = ClientConfig(server=self.server.url, token=self.tokens["worker"], patience_s=0.0, cache_dir=cache)
        return WorkerClient(config, key=key_of("worker"), host="here")

    def get(self, path, timeout=30):
        with suppress(httpx.HTTPError):
            return httpx.get(
                f"{self.server.url}{API}{path}",
                headers={"Authorization": f"Bearer {self.server.token}"},
                timeout=timeout,
                follow_redirects=True,
            )

    def run(self, *statements):
        with self.engine.begin() as conn:
            return [conn.execute(sa.text(one)) for one in statements][-1]

    @contextmanager
    def locked(self, statement):
        """Hold a lock in the database while the block lasts."""
        with self.engine.connect() as conn, conn.begin():
            conn.execute(sa.text(statement))
            yield


def no_worker(scene):
    scene.push()


def no_worker_for_labels(scene):
    scene.start_worker()
    with scene.client() as client:
        client.verify("lab/chat:v1", again=True, labels={"gpu": "h100"})


def nothing(scene):
    """Go on as before: what was done last makes this one fire as well."""


def runs_die(scene):
    scene.stop_worker()
    refs = [scene.push(f"mill/dies-{number}") for number in range(6)]
    with scene.as_worker() as worker:
        for _ in refs:
            grant = worker.lease(LeaseRequest(worker="w", wait_s=2.0))
            worker.fail_run(grant.run, RunFailure(fence=grant.fence, error="too slow", is_out_of_time=True))
    scene.start_worker()


def agents_fail(scene):
    ref = scene.push("lab/served")
    with scene.client() as client:
        client.verify(ref)
        with scene.as_worker() as worker:
            prove_all(worker, name="w-proves")
        until(lambda: client.gate(ref, "prod").allowed, f"it may go: {client.gate(ref, 'prod')}")
        client.promote(ref, "prod", reason="to be served")
    report = AgentReport(
        engine="dir", every_s=60, serves=[Observed(channel="lab/served@prod", state="failed", base="wrong", error="x")]
    )
    answer = httpx.put(
        f"{scene.server.url}{API}/fleet/agents/host",
        content=report.model_dump_json(),
        headers={"Authorization": f"Bearer {scene.tokens['host']}", "Content-Type": "application/json"},
    )
    assert answer.status_code == 204, answer.text


def quota_near(scene):
    with scene.client() as client:
        client.quotas.set("mill", {"lines": 6})


def collection_late(scene):
    with scene.client() as client:
        client.quotas.set("mill", {"lines": 60})  # roomy, and one that the dashboard can show
        client.storage.collect(dry_run=False)


def webhooks_late(scene):
    with scene.client() as client:
        client.webhooks.add("http://127.0.0.1:9/nobody")
    for number in range(4):
        scene.push(f"lab/told-{number}")


def disputed(scene):
    pair = "SELECT {}(id), {}(id), 'a test', 1 FROM verdicts"
    for first, second in (("min", "max"), ("max", "min")):
        scene.run(f"INSERT INTO disputes (verdict_id, other_id, told, created_at) {pair.format(first, second)}")


def store_fails(scene):
    (scene.disk / "blobs").rename(scene.disk / "blobs.away")
    (scene.disk / "blobs").touch()
    push_in_vain(scene)


def push_in_vain(scene):
    for _ in range(4):
        with suppress(DeltaregError):
            scene.push()


def store_is_back(scene):
    (scene.disk / "blobs").unlink()
    (scene.disk / "blobs.away").rename(scene.disk / "blobs")


def bytes_lost(scene):
    ref = scene.push("lab/lost")
    packs = [path for path in (scene.disk / "blobs" / "blobs").rglob("*") if path.is_file()]
    newest = max(packs, key=lambda path: path.stat().st_mtime)
    newest.unlink()
    for _ in range(3):
        with scene.client() as client, suppress(DeltaregError):
            client.pull(ref, scene.processes.folder / "pulled")


def disk_fills(scene):
    for number in range(DISK_MIB * 95 // 100 // 20):
        if shutil.disk_usage(scene.disk).free < 30 << 20:
            return
        (scene.disk / f"filler-{number}").write_bytes(bytes(20 << 20))
        time.sleep(0.5)


def disk_is_free(scene):
    for path in scene.disk.glob("filler-*"):
        path.unlink()


def database_down(scene):
    scene.engine.dispose()
    scene.postgresql.stop()


def database_up(scene):
    scene.postgresql.restart("fast")  # starts it with the options that it had


def slow(scene):
    def ask():
        for _ in range(3):
            scene.get("/deltas/lab/chat/versions")

    with scene.locked("LOCK TABLE deltas IN ACCESS EXCLUSIVE MODE"):
        askers = [threading.Thread(target=ask) for _ in range(8)]
        for asker in askers:
            asker.start()
        time.sleep(6)
    for asker in askers:
        asker.join()


def connections_used_up(scene):
    # A table that each request asks and metrics do not.
    def hold():
        with scene.locked("LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE"):
            askers = [threading.Thread(target=scene.get, args=("/resolve?ref=lab/chat:v1",)) for _ in range(8)]
            for asker in askers:
                asker.start()
            time.sleep(9)
        for asker in askers:
            asker.join()

    scene.held = threading.Thread(target=hold)
    scene.held.start()


def unsealed(scene):
    def hold():
        with scene.locked("SELECT * FROM log_origins FOR UPDATE"):
            scene.push("lab/unsealed")
            time.sleep(3 * SHORT_S)

    scene.held = threading.Thread(target=hold)
    scene.held.start()


def join(scene):
    scene.held.join()


def task_fails(scene):
    scene.run("ALTER TABLE dropped_logs RENAME TO dropped_logs_away", "UPDATE operations SET due_at = 1")


def task_goes_on(scene):
    scene.run("ALTER TABLE dropped_logs_away RENAME TO dropped_logs")


def server_down(scene):
    scene.server.kill()


def server_up(scene):
    scene.server.start()


def stays(scene):
    """Leave it: it is over when somebody does what the alert says, which is no part of this."""


FAULTS = {
    "DeltaregNoWorker": (no_worker, stays),
    "DeltaregProofsStale": (nothing, stays),
    "DeltaregNoWorkerForLabels": (no_worker_for_labels, stays),
    "DeltaregQueueOld": (nothing, stays),
    "DeltaregAgentsFail": (agents_fail, stays),
    "DeltaregRunsDie": (runs_die, stays),
    "DeltaregQuotaNear": (quota_near, stays),
    "DeltaregWebhooksLate": (webhooks_late, stays),
    "DeltaregCollectionLate": (collection_late, stays),
    "DeltaregVerdictsDisputed": (disputed, stays),
    "DeltaregStoreFails": (store_fails, stays),
    "DeltaregServerErrors": (push_in_vain, store_is_back),
    "DeltaregBytesLost": (bytes_lost, stays),
    "DeltaregConnectionsUsedUp": (connections_used_up, join),
    "DeltaregSlow": (slow, stays),
    "DeltaregTrailUnsealed": (unsealed, join),
    "DeltaregDiskFullSoon": (disk_fills, stays),
    "DeltaregDiskFull": (nothing, disk_is_free),
    "DeltaregDatabaseDown": (database_down, database_up),
    "DeltaregTaskFails": (task_fails, task_goes_on),
    "DeltaregServerDown": (server_down, server_up),
}
OVER = ("DeltaregDiskFull", "DeltaregDatabaseDown", "DeltaregServerDown", "DeltaregStoreFails", "DeltaregNoWorker")
"""Alerts that have to be over once the fault is."""


def test_each_alert_fires_on_its_fault_and_the_dashboard_shows_it(processes, figures, tmp_path):
    assert set(FAULTS) == {rule["alert"] for rule in rules()}
    with ExitStack() as stack, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        disk = stack.enter_context(small_disk(tmp_path / "disk"))
        postgresql = stack.enter_context(own_postgresql())
        scene = Scene(processes, postgresql, disk, port)
        stack.callback(scene.engine.dispose)
        watched = stack.enter_context(prometheus(tmp_path, f"127.0.0.1:{port}"))
        until(lambda: watched.query("deltareg_database_up == 1"), "the server is watched")
        time.sleep(2)
        before = set(watched.firing())
        took, silent = {}, {}
        empty: list[tuple[str, str]] = []
        for name, (harm, heal) in FAULTS.items():
            if name == "DeltaregServerDown":  # all that panels show has happened, and the server has run for minutes
                empty = _empty_panels(watched)
            try:
                harm(scene)
                _, took[name] = watched.until_fires(name, timeout_s=40)
                print(f"{name} fires after {took[name]:.0f} s", flush=True)
            except (AssertionError, DeltaregError, httpx.HTTPError) as error:  # the others are tried all the same
                silent[name] = str(error)
                print(f"{name} does not: {error}", flush=True)
            finally:
                heal(scene)
            if name in OVER[:3] and name in took:
                watched.until_quiet(name)
        for name in OVER:
            watched.until_quiet(name)

    figures("alerts that fired", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items()))
    assert silent == {}
    assert before <= {"DeltaregProofsStale", "DeltaregNoWorker"}  # the base that was pushed waits for its proof
    assert empty == []


def _empty_panels(watched):
    """Give what panels ask for and get nothing that can be drawn, and print what the others get."""
    board = json.loads(Path(DEPLOY / "dashboard.json").read_text())
    asked = [(panel, target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(asked) > 30
    empty = []
    for panel, expr in asked:
        drawn = watched.drawn(expr, is_chart=panel["type"] == "timeseries")
        print(f"panel {panel['title']}: {expr}", *drawn, sep="\n    ", flush=True)
        if not drawn:
            empty.append((panel["title"], expr))
    return empty
