"""Allows one `deltareg up` for a data folder, and one start at a time.

The locks are the kernel's, on files in the folder: a process that dies releases them, however it
dies. The text in the files is for people.
"""

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from deltareg.errors import Conflict

_UP, _START = "up.lock", "start.lock"


@contextmanager
def only_up(folder: Path) -> Generator[Callable[[str], None], None, None]:
    """Be the only `up` of a folder while the block lasts; yield what records its address.

    Raises:
        Conflict: Another one runs; our start must not end the token of its workers.
    """
    with _hold_lock(folder / _UP, folder) as tell:
        yield tell


@contextmanager
def only_up_beside(database: Path, url: str) -> Generator[None, None, None]:
    """Be the only `up` of a SQLite file outside the data folder while the block lasts.

    Raises:
        Conflict: Another one runs, from another folder.
    """
    with _hold_lock(database.with_name(f"{database.name}-{_UP}"), database) as tell:
        tell(url)
        yield


@contextmanager
def _hold_lock(path: Path, of: Path) -> Generator[Callable[[str], None], None, None]:
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _runs_already(of, os.pread(descriptor, 1000, 0).decode()) from None

        def tell(url: str) -> None:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {url}".encode(), 0)

        tell("")
        yield tell
    finally:
        os.close(descriptor)


@contextmanager
def one_start_at_a_time(folder: Path) -> Generator[None, None, None]:
    """Wait for other starts on a folder, so that two simultaneous first starts create it once."""
    descriptor = _open(folder / _START)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _runs_already(folder: Path, told: str) -> Conflict:
    pid, _, url = told.partition(" ")
    where = f"{url} (process {pid})" if url else f"process {pid or 'unknown'}, which is starting"
    return Conflict(
        f"a registry runs on {folder} already: {where}",
        fix="use that one; or stop it, or name another folder: --data-dir DIR",
    )
