"""Measures how much a child has written, where the kernel gives it no disk space of its own.

With the sandbox's layer `mount` the child's folder is memory of a bounded size, and nothing of it
is seen here. Without, what it writes lies on the disk that all runs share.
"""

import os
from collections.abc import Iterator
from pathlib import Path

MOST_ENTRIES = 4096
_BLOCK_BYTES = 512  # what st_blocks counts in, whatever the file system's own blocks are


def holds_more_than(folder: Path, size_bytes: int) -> bool:
    """Return whether a folder takes more disk space than that, or has too many entries to tell.

    Entries that come and go meanwhile count as far as they are there.
    """
    used_bytes = 0
    for number, entry in enumerate(_below(folder)):
        if number >= MOST_ENTRIES:
            return True
        try:
            used_bytes += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
        except OSError:
            continue
        if used_bytes > size_bytes:
            return True
    return False


def _below(folder: Path) -> Iterator[os.DirEntry[str]]:
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
