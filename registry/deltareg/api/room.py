"""Checks now and then whether the disks of an embedded server have room.

Only disks of this machine are checked: the folder of the store and that of a SQLite database, by
the free space of their file systems and by writing a small file, since a quota does not show in the
free space. Whether the store itself takes and gives bytes is asked in `bounded_look`.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deltareg.errors import DiskFull

LEAST_BYTES = 64 << 20
"""Less room than this is none: the longest pack would not fit. On small disks it is a twentieth."""
_EVERY_S = 5.0
_PART = 20
_PROBE = bytes(4096)


@dataclass(slots=True)
class DiskRoom:
    """Checks the disks of a server; safe to call from several threads.

    Attributes:
        folders: The folders by their content: `store`, `database`.
        least_bytes: How many bytes have to be free.
        every_s: How long an answer is reused, seconds.
        clock: Returns the time, seconds.
    """

    folders: Mapping[str, Path]
    least_bytes: int = LEAST_BYTES
    every_s: float = _EVERY_S
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _looked_at: float = float("-inf")
    _found: str = ""

    def check(self) -> None:
        """Raise if a disk has no room.

        Raises:
            DiskFull: One of the disks is full, or will be after the next pack.
        """
        with self._lock:
            if self.clock() - self._looked_at >= self.every_s:
                self._found = self._look()
                self._looked_at = self.clock()
            problem = self._found
        if problem:
            raise DiskFull(problem, fix="make room there, or collect: deltareg gc run")

    def _look(self) -> str:
        for what, folder in self.folders.items():
            try:
                usage = os.statvfs(folder)
                free = usage.f_bavail * usage.f_frsize
                if free < min(self.least_bytes, usage.f_blocks * usage.f_frsize // _PART):
                    return f"the disk of the {what} has {free // 1_000_000} MB left"
                _write(folder / f".room-{os.getpid()}")
            except OSError as error:
                return f"the disk of the {what} takes nothing: {error.strerror}"
        return ""


def _write(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, _PROBE)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        with suppress(OSError):
            path.unlink()
