"""One host for a SQLite database: its write-ahead log is shared memory, which no network carries.

A serving process says so in a file beside the database and renews it. A start on another host finds
it fresh and refuses; one that was killed is forgotten after `STALE_S`. Times are the file system's
own, so hosts need no common clock. Processes of one kernel, containers included, may share.
"""

import json
import os
import signal
import socket
import threading
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from deltareg.db.session import parse_url
from deltareg.errors import Misconfigured

STALE_S = 45.0
_RENEW_S = 10.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Host:
    """A running kernel.

    Attributes:
        kernel: Unlike any other's, and another one after a restart.
        name: For people.
    """

    kernel: str
    name: str


def this_host() -> Host:
    """Name the kernel that this process runs on."""
    try:
        kernel = _BOOT_ID.read_text().strip()
    except OSError:
        kernel = f"{socket.gethostname()}-{uuid.getnode():x}"
    return Host(kernel, socket.gethostname())


@contextmanager
def one_host(database_url: str, *, host: Host | None = None) -> Generator[None, None, None]:
    """Hold a SQLite database for this host while the block lasts; other databases need no holding.

    Args:
        database_url: Where the database is.
        host: Who holds it; this host by default.

    Raises:
        Misconfigured: Another host serves the same file.
    """
    url = parse_url(database_url)
    if url.get_backend_name() != "sqlite" or url.database is None:
        yield
        return
    path, me = Path(f"{url.database}-host"), host or this_host()
    _refuse_other(path, me)
    _claim(path, me)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(path, me, ended), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        _release(path, me)


def _refuse_other(path: Path, me: Host) -> None:
    holder = _holder(path)
    if holder is None or holder.kernel == me.kernel or _age_s(path) > STALE_S:
        return
    raise Misconfigured(
        f"host {holder.name} serves the SQLite database {path.name.removesuffix('-host')} now, and"
        " one host is all that SQLite can be served from",
        fix=f"stop that server and wait {STALE_S:g} s, or use PostgreSQL for several hosts",
    )


def _holder(path: Path) -> Host | None:
    try:
        found = json.loads(path.read_text())
        return Host(str(found["kernel"]), str(found["name"]))
    except (OSError, ValueError, KeyError, TypeError):  # gone, or cut short: nobody's
        return None


def _age_s(path: Path) -> float:
    """Give a file's age by the clock of the file system that it is on."""
    probe = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    finally:
        probe.unlink(missing_ok=True)


def _claim(path: Path, me: Host) -> None:
    draft = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
    draft.write_text(json.dumps(asdict(me)))
    draft.replace(path)


def _renew(path: Path, me: Host, ended: threading.Event) -> None:
    """Renew until the end; stop this process when two hosts started at the same moment."""
    while not ended.wait(_RENEW_S):
        holder = _holder(path)
        if holder is not None and holder.kernel != me.kernel and _age_s(path) <= STALE_S:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        _claim(path, me)


def _release(path: Path, me: Host) -> None:
    """Take the file away, unless another process of this host goes on serving.

    It renews the file within seconds, and until then a start elsewhere is refused by nothing: the
    same as at a start, and found by the same renewal.
    """
    if _holder(path) == me:
        path.unlink(missing_ok=True)
