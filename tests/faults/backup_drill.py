"""The drill of backups: a registry under pushes, deletions and collections, whose backups are killed.

Now and then one may end. Then its host is gone: it is restored with another folder, database and store, by a
command that is killed, too. All that was acknowledged before that backup began is pulled there and
held against what was pushed.
"""

import random
import sys
import threading
import time
from contextlib import suppress

import sqlalchemy as sa

from deltareg.db.session import create_engine, write
from deltareg.db.tables import backup_holds
from deltareg.digest import sha256_of
from deltareg.errors import DeltaregError
from deltareg.store import open_store
from tests.faults.payloads import BASE, content, payload

PROGRAM = (sys.executable, "-m", "deltareg.api")


class BackupDrill:
    """A registry, what it acknowledged, and the place of its backups."""

    def __init__(self, processes, server, folder, *, database_url, seed):
        self.processes, self.server, self.folder = processes, server, folder
        self.random = random.Random(seed)
        self.place = folder / "backups"
        self.store = open_store(self.place.as_uri())
        self.environ = processes.environ(
            "backup",
            DELTAREG_DATA_DIR=str(server.data_dir),
            DELTAREG_DATABASE_URL=database_url,
            DELTAREG_WEBHOOK_KEY=str(processes.folder / "webhook-key"),
        )
        self._engine = create_engine(database_url, connections=0)
        self.acknowledged: dict[str, int] = {}
        self.deleted: set[str] = set()
        self.kills = {"backup": 0, "restore": 0, "prune-backups": 0}
        self.collections, self.freed = 0, 0
        self.problems: list[str] = []
        self._takes_s = {"backup": 3.0, "restore": 3.0, "prune-backups": 1.5}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._pusher = threading.Thread(target=self._push_on)

    def __enter__(self):
        self._pusher.start()
        return self

    def __exit__(self, *_exc):
        self._ended.set()
        self._pusher.join()

    def known(self):
        """Give what must be in a backup that begins now: by version, which payload it is."""
        with self._lock:
            return {ref: number for ref, number in self.acknowledged.items() if ref not in self.deleted}

    def back_up(self, kills):
        """Kill so many backups, then let one end; give what had to be in it."""
        for _ in range(kills):
            self._run("backup", self.environ, "--to", str(self.place), is_killed=True)
        known = self.known()
        self._run("backup", self.environ, "--to", str(self.place), is_killed=False)
        return known

    def prune(self, *, is_killed):
        """Delete what is older than the newest by a day; killed, or to its end."""
        self._run("prune-backups", self.environ, "--from", str(self.place), "--keep-days", "1", is_killed=is_killed)

    def restore(self, name, database_url, kills):
        """Restore the newest backup as another host, and give a server over it."""
        again = self.processes.api(name, database_url=database_url)
        environ = self.processes.environ(
            f"{name}-restore", DELTAREG_DATA_DIR=str(again.data_dir), DELTAREG_DATABASE_URL=database_url
        )
        for _ in range(kills):
            if not self._run("restore", environ, "--from", str(self.place), is_killed=True):
                return again  # it was quicker than the kill
        self._run("restore", environ, "--from", str(self.place), is_killed=False)
        return again

    def compare(self, client, known, folder):
        """Pull all that had to be in a backup and hold it against what was pushed."""
        for ref, number in known.items():
            with self._lock:
                if ref in self.deleted:  # while the backup was taken
                    continue
            try:
                client.pull(ref, folder / ref.replace("/", "-").replace(":", "-"))
            except DeltaregError as error:
                self.problems.append(f"{ref} is lost: {error}")
                continue
            pulled = content(folder / ref.replace("/", "-").replace(":", "-"))
            wanted = content(payload(self.folder, number))
            if not wanted.items() <= pulled.items():
                self.problems.append(f"{ref} is another one than was pushed")

    def _run(self, command, environ, *args, is_killed):
        """Run a command to its end, or kill it somewhere; tell whether it was killed."""
        began = time.monotonic()
        running = self.processes.start(command, *PROGRAM, command, *args, environ=environ)
        if is_killed:
            deadline = began + self._takes_s[command] * self.random.uniform(0.1, 1.0)
            while running.status is None and time.monotonic() < deadline:
                time.sleep(0.005)
            if running.status is None and running.kill():
                self.kills[command] += 1
                self._let_time_pass(command)
                return True
        status = running.wait()
        self._takes_s[command] = time.monotonic() - began
        if status != 0:
            self.problems.append(f"{command} ended with {status}: {running.errors[-500:]}")
        return False

    def _let_time_pass(self, command):
        """End the holds of a killed process, as their leases would; else the next one waits for them."""
        for key, _ in self.store.keys(f"blobs/{sha256_of(command.partition('-')[0].encode()).hex}/"):
            self.store.delete(key)
        if command != "prune-backups":
            with write(self._engine) as conn:
                conn.execute(sa.delete(backup_holds))

    def _push_on(self):
        number = 0
        with self.server.client(self.folder / "pusher-cache") as client:
            client.bases.push(BASE, "base")
            while not self._ended.is_set():
                number += 1
                try:
                    pushed = client.push(payload(self.folder, number), f"lab/line{number % 5}", base="base")
                    with self._lock:
                        self.acknowledged[pushed.version.ref] = number
                    if number % 3 == 0:
                        self._delete(client)
                    if number % 4 == 0:
                        self.freed += client.storage.collect(dry_run=False, grace_s=0.0, keep_forms_s=0.0).objects
                        self.collections += 1
                except DeltaregError as error:
                    self.problems.append(f"push {number}: {error}")

    def _delete(self, client):
        with self._lock:
            ref = self.random.choice(sorted(set(self.acknowledged) - self.deleted))
            self.deleted.add(ref)
        with suppress(DeltaregError):  # something stands on it
            client.versions.delete(ref)
