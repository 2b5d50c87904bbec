"""A real Ceph for the soak: a monitor, an object store in memory, and its gateway that speaks S3.

Debian's packages `ceph-mon`, `ceph-osd`, `ceph-common` and `radosgw` bring the programs. One node on
loopback keeps each object once, and asks for no keys inside: what is tried is the gateway.
"""

import os
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.fixtures.swift import S3Endpoint, free_ports

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_START_S, _PAUSE_S, _ASK_S = 120.0, 0.2, 20
_SETTINGS = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{monitor}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
public network = 127.0.0.0/8
ms bind ipv6 = false
ms bind msgr1 = false
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = false
{plain_messages}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 1
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
pid file = {folder}/$name.pid
run dir = {folder}
[mon]
mon data = {folder}/mon
mon initial members = one
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd class dir = {classes}
osd class load list = *
osd class default list = *
osd mclock skip benchmark = true
[client.rgw.one]
rgw frontends = beast endpoint=127.0.0.1:{gateway}
rgw data = {folder}
"""
# Nothing secret goes between these processes, and without keys there is nothing to encrypt by.
_MESSAGES = ("mon client", "mon cluster", "mon service", "client", "service", "cluster")


@contextmanager
def ceph_started(folder: Path) -> Generator[S3Endpoint, None, None]:
    """Run a Ceph of one node until the block ends; skips where its programs are missing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs Ceph: {', '.join(missing)} (apt-get install ceph-mon ceph-osd ceph-common radosgw)")
    monitor, gateway = free_ports(2)
    ceph = _Ceph(folder, monitor, gateway)
    with ExitStack() as stack:
        for start in (ceph.monitor, ceph.objects, ceph.gateway):
            stack.enter_context(_ended(start()))
        yield ceph.user()


class _Ceph:
    """The parts of one Ceph, each to be started after the one before."""

    def __init__(self, folder: Path, monitor: int, gateway: int) -> None:
        self._folder, self._settings = folder, folder / "ceph.conf"
        self._fsid, self._monitor = str(uuid4()), monitor
        self._url = f"http://127.0.0.1:{gateway}"
        for name in ("mon", "osd"):
            (folder / name).mkdir()
        text = _SETTINGS.format(
            fsid=self._fsid,
            folder=folder,
            classes=f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/rados-classes",  # where Debian lays them
            monitor=monitor,
            gateway=gateway,
            plain_messages="\n".join(f"ms {name} mode = crc" for name in _MESSAGES),
        )
        self._settings.write_text(text)

    def monitor(self) -> subprocess.Popen[bytes]:
        """Start what knows the cluster, and wait until it answers."""
        chart = str(self._folder / "monmap")
        address = f"[v2:127.0.0.1:{self._monitor}]"
        _done("monmaptool", "--create", "--fsid", self._fsid, "--addv", "one", address, chart)
        _done("ceph-mon", *self._where, "-i", "one", "--mkfs", "--monmap", chart)
        process = self._start("ceph-mon", "-i", "one")
        self._until(process, lambda: self._ask("status") is not None)
        return process

    def objects(self) -> subprocess.Popen[bytes]:
        """Start what holds the objects, and wait until the monitor counts it."""
        own = str(uuid4())
        number = _done("ceph", *self._where, "osd", "new", own).strip()
        _done("ceph-osd", *self._where, "-i", number, "--mkfs", "--osd-uuid", own)
        process = self._start("ceph-osd", "-i", number)
        self._until(process, lambda: "1 up" in (self._ask("osd", "stat") or ""))
        return process

    def gateway(self) -> subprocess.Popen[bytes]:
        """Start what speaks S3, and wait until it does."""
        process = self._start("radosgw", "-n", "client.rgw.one")
        self._until(process, self._is_answered)
        return process

    def user(self) -> S3Endpoint:
        """Make somebody who may make buckets."""
        name, secret = "tester", uuid4().hex
        keys = ("--access-key", name, "--secret-key", secret)
        _done("radosgw-admin", *self._where, "user", "create", "--uid", name, "--display-name", name, *keys)
        return S3Endpoint(self._url, name, secret)

    @property
    def _where(self) -> tuple[str, str]:
        return "-c", str(self._settings)

    def _start(self, program: str, *args: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{program}.out").open("wb") as out:
            return subprocess.Popen(
                [program, *self._where, *args, "-f"], stdout=out, stderr=out, start_new_session=True
            )

    def _ask(self, *args: str) -> str | None:
        """Ask the monitor; None while it does not answer."""
        try:
            return _done("ceph", *self._where, *args)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None

    def _is_answered(self) -> bool:
        try:
            return httpx.get(self._url).is_success
        except httpx.HTTPError:
            return False

    def _until(self, process: subprocess.Popen[bytes], is_there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_S
        while not is_there():
            if process.poll() is not None or time.monotonic() > deadline:
                told = "\n".join(path.read_text(errors="replace")[-1000:] for path in self._folder.glob("*.out"))
                pytest.fail(f"Ceph did not start:\n{told}")
            time.sleep(_PAUSE_S)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Generator[None, None, None]:
    """End a process with the block."""
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _done(*command: str) -> str:
    """Run a command to its end, and give what it wrote."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=_ASK_S).stdout
