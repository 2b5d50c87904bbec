"""`server doctor` beside other work names what was planted, with its cause; the registry has history."""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from deltareg.api.doctor import room, slow, stuck
from deltareg.api.observability.growth import RoomSample, add_sample, sample_disks
from deltareg.signing.key_file import write_key
from deltareg.wire import TokenCreate
from tests.faults import worker as scripted_worker
from tests.faults.payloads import BASE, payload
from tests.faults.proxy import Proxy
from tests.faults.test_restarts import own_postgresql
from tests.fixtures.processes import until
from tests.scale.filled import fill, live_template
from tests.scale.plan import FillPlan
from tests.scale.template import server_key
from tests.signers import key_of

pytestmark = [pytest.mark.soak, pytest.mark.postgres, pytest.mark.timeout(900)]
VERSIONS = int(os.environ.get("DELTAREG_TEST_VERSIONS", "4000"))
PUSHERS, SLOW_S, HELD_S, FALL = 3, 17.0, 14.0, 5e5
_HOUR_S = 3_600.0


class BusyRegistry:
    """A server with history whom others push to all the while."""

    def __init__(self, processes, url, blobs):
        self.processes, self.folder = processes, processes.folder
        self.engine = sa.create_engine(url)
        write_key(self.folder / "server-key.pem", server_key())
        self.server = processes.api(
            database_url=url, store_url=blobs.as_uri(), signing_key=self.folder / "server-key.pem"
        )
        self.environ = {**self.server._environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        self.admin = self.own("token", "create", "--admin", "--data-dir", str(self.server.data_dir)).strip()
        self.server.start()
        self.pushed, self.wrong = [], []
        with self.client("admin") as client:
            # One's pushes are counted against one's limits in turn: who waits for a line is somebody else.
            self.token, self.waiting_token = (
                client.tokens.create(
                    TokenCreate(principal=name, kind="pat", scopes=["read", "push", "verify"], everywhere=True)
                ).token
                for name in ("pusher", "waiting")
            )
            client.keys.enrol("worker", str(key_of("worker").public), host="here")
            self.worker_token = client.tokens.create(
                TokenCreate(principal="worker", kind="wrk", scopes=["read", "verify"], everywhere=True)
            ).token
        with self.client("first", self.token) as client:
            client.bases.push(BASE, "tinyllama-of-the-test")

    def own(self, *words):
        """Run `deltareg-server` with the server's settings; gives what it prints, whatever its status."""
        line = [sys.executable, "-m", "deltareg.api", *words]
        ended = subprocess.run(line, env=self.environ, capture_output=True, text=True, check=False, timeout=300)
        assert ended.returncode in {0, 1}, ended.stderr
        return ended.stdout

    def client(self, name, token=None, *, url=None):
        settings = {} if url is None else {"server": url}
        return self.server.client(self.folder / "caches" / name, token=token or self.admin, **settings)

    def push(self, client, line, number):
        return client.push(payload(self.folder / "payloads", number), line, base="tinyllama-of-the-test").version.ref

    @contextmanager
    def busy(self):
        """Push, and verify what was pushed, while the block lasts."""
        ended = threading.Event()

        def work(number):
            try:
                with self.client(f"pusher-{number}", self.token) as client:
                    while not ended.is_set():
                        self.pushed.append(self.push(client, f"load/line-{number}", 1000 * number + len(self.pushed)))
            except Exception as error:  # noqa: BLE001  # told by the test
                self.wrong.append(error)

        environ = self.processes.environ("w", DELTAREG_SERVER=self.server.url, DELTAREG_TOKEN=self.worker_token)
        worker = self.processes.start("w", sys.executable, scripted_worker.__file__, "w", "0.05", "2", environ=environ)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(1, PUSHERS + 1)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()
            worker.kill()

    def plant(self):
        """Push once through a slow line, and once while a line's row is locked; ask for what nobody offers."""
        with Proxy(self.server.port) as proxy:
            proxy.pace_s = SLOW_S
            with self.client("far", self.token, url=proxy.url) as client:
                self.push(client, "lab/by-a-slow-line", 900_001)
        with self.client("locked", self.waiting_token) as client:
            ref = self.push(client, "lab/by-a-lock", 900_002)
            held = threading.Event()
            holder = threading.Thread(target=self._hold, args=(held,))
            holder.start()
            assert held.wait(60)
            self.push(client, "lab/by-a-lock", 900_003)
            holder.join()
            client.verify(ref, again=True, labels={"gpu": "h100"})

    def _hold(self, held):
        with self.engine.begin() as conn:
            conn.execute(sa.text("SELECT id FROM deltas WHERE name = 'by-a-lock' FOR UPDATE"))
            held.set()
            time.sleep(HELD_S)

    def plant_a_disk_that_fills(self):
        """Write records of two days in which it lost half a megabyte a second; gives in how long it is full."""
        records = self.server.data_dir / "records"
        free = sample_disks({"records": records})["records"]
        now = time.time()
        (records / "growth.jsonl").unlink(missing_ok=True)
        for hour in range(48, 0, -1):
            add_sample(records, RoomSample(now - hour * _HOUR_S, {"records": int(free + FALL * hour * _HOUR_S)}))
        return free / FALL


def test_the_three_questions_are_answered_beside_other_work(processes, figures):
    filled = processes.folder / "filled"
    filled.mkdir()
    with own_postgresql() as postgresql:
        template = live_template(postgresql.url, filled, tensors=4)
        fill(postgresql.url, filled, FillPlan(VERSIONS, tensors=4), template)
        registry = BusyRegistry(processes, postgresql.url, filled / "blobs")
        with registry.busy():
            registry.plant()
            full_in_s = registry.plant_a_disk_that_fills()
            until(lambda: len(registry.pushed) > 60 or registry.wrong, "others push", timeout_s=300)
            began, used = time.monotonic(), _used_s()
            found = json.loads(registry.own("doctor", "--json"))
            took, used = time.monotonic() - began, _used_s() - used
            one = json.loads(registry.own("doctor", "--json", "--line", "lab/by-a-lock"))
            print(registry.own("doctor"))
        registry.engine.dispose()

    figures(
        f"doctor, {VERSIONS} versions, {len(registry.pushed)} pushes beside it",
        f"{took:.1f} s, {used:.1f} s of processor",
    )
    assert registry.wrong == []
    pushes = {each["what"]: each["parts"] for each in found[slow.QUESTION]["requests"]}
    causes = {what: max(parts, key=parts.get) for what, parts in pushes.items()}
    assert causes.get("push to lab/by-a-slow-line") == "receiving", causes
    assert causes.get("push to lab/by-a-lock") == "database", causes
    assert {each["what"].split(" ")[-1] for each in one[slow.QUESTION]["requests"]} == {"lab/by-a-lock"}
    assert all(each["ref"].startswith("lab/by-a-lock:") for each in one[slow.QUESTION]["runs"])
    assert found[room.QUESTION]["records"]["full_in_s"] == pytest.approx(full_in_s, rel=0.05)
    assert any("gpu=h100" in why for why in found[stuck.QUESTION]["reasons"]), found[stuck.QUESTION]


def _used_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
