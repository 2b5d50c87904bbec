"""Holds on cached bases that processes of this machine use, so that none is pruned.

A hold is a lock on a file beside the bases, which ends with its process.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = "bases-in-use"


@contextmanager
def in_use(root: Path, digest: str) -> Generator[None]:
    """Hold a base of the cache at `root` during the block; several processes may hold the same.

    Raises:
        BlockingIOError: The base is being pruned.
        OSError: The file system does not support locks.
    """
    with _hold_lock(root / _FOLDER, digest, fcntl.LOCK_SH):
        yield


@contextmanager
def not_in_use(root: Path, digest: str) -> Generator[None]:
    """Keep others from holding a base during the block.

    Raises:
        BlockingIOError: Somebody holds the base.
        OSError: The file system does not support locks.
    """
    with _hold_lock(root / _FOLDER, digest, fcntl.LOCK_EX):
        yield


@contextmanager
def _hold_lock(folder: Path, digest: str, mode: int) -> Generator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / Path(digest).name, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
