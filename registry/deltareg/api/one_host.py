"""One host for a SQLite database: its write-ahead log is shared memory, which no network carries.

Every serving process keeps a claim, a file in a folder beside the database, and renews it. A start
writes its own claim first and then looks for those of other hosts, so of two that start at the same
moment neither misses the other. The claim of a process that was killed counts for `STALE_S` more.
Ages are by the clock of the file system, so hosts need none in common. Processes of one kernel,
containers included, may share.
"""

import os
import signal
import socket
import threading
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deltareg.db.session import parse_url
from deltareg.db.sql.sqlite_file import DatabaseFile
from deltareg.errors import DeltaregError, Misconfigured, Unavailable

STALE_S = 45.0
_RENEW_S = 10.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """Identifies a running kernel.

    Attributes:
        kernel: An identifier unique to the running kernel, new after a restart; it contains no dot.
        name: The host's name, for people.
    """

    kernel: str
    name: str


def this_host() -> HostIdentity:
    """Return the identity of the kernel that this process runs on."""
    try:
        kernel = _BOOT_ID.read_text().strip()
    except OSError:
        kernel = f"{uuid.getnode():x}"
    return HostIdentity(kernel, socket.gethostname())


@contextmanager
def one_host(database_url: str, *, host: HostIdentity | None = None) -> Generator[None, None, None]:
    """Claim a SQLite database for this host while the block lasts; other databases need no claim.

    Args:
        database_url: The database.
        host: The host that claims it; this host by default.

    Raises:
        Misconfigured: Another host serves the same file, or took over while this one was frozen.
        Unavailable: The file was removed or replaced while the block lasted.
    """
    url = parse_url(database_url)
    if url.get_backend_name() != "sqlite" or url.database is None:
        yield
        return
    me, folder = host or this_host(), Path(f"{url.database}-hosts")
    folder.mkdir(exist_ok=True)
    claim = folder / f"{me.kernel}.{uuid.uuid4().hex}"
    ended, lost = threading.Event(), list[DeltaregError]()
    file = DatabaseFile(url.database)
    file.note_opened()
    renewing = threading.Thread(target=_renew, args=(claim, me, file, ended, lost), daemon=True)
    try:
        claim.write_text(me.name)
        _check_alone(claim, me)
        renewing.start()
        yield
    finally:
        ended.set()
        if renewing.is_alive():
            renewing.join()
        claim.unlink(missing_ok=True)
    if lost:
        raise lost[0]


def _check_alone(claim: Path, me: HostIdentity) -> None:
    other = _other(claim, me)
    if other:
        raise Misconfigured(
            f"host {other} serves the SQLite database {claim.parent.name.removesuffix('-hosts')} now, and one"
            " host is all that SQLite can be served from",
            fix=f"stop that server and wait {STALE_S:g} s, or use PostgreSQL for several hosts",
        )


def _other(claim: Path, me: HostIdentity) -> str:
    """Return the name of another host whose claim is not stale, or an empty text."""
    now = claim.stat().st_mtime
    for path in claim.parent.iterdir():
        if path.name.partition(".")[0] == me.kernel:
            continue
        try:
            age_s = now - path.stat().st_mtime
            name = path.read_text() or path.name
        except FileNotFoundError:  # it has just ended
            continue
        if age_s <= STALE_S:
            return name
        path.unlink(missing_ok=True)
    return ""


def _renew(
    claim: Path, me: HostIdentity, file: DatabaseFile, ended: threading.Event, lost: list[DeltaregError]
) -> None:
    """Renew the claim until the end; stop the server, and say why in `lost`, once the database is not its own."""
    while not ended.wait(_RENEW_S):
        try:
            file.check_unmoved()
            is_taken = not claim.exists()  # only a claim that went stale is taken away by others
            claim.parent.mkdir(exist_ok=True)
            claim.write_text(me.name)
            if is_taken:
                _check_alone(claim, me)
        except (Misconfigured, Unavailable) as error:
            lost.append(error)
            os.kill(os.getpid(), signal.SIGTERM)
            return
