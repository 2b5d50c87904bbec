"""Starts writing a file to disk while it is still being written.

A sync at the end of a large file leaves the processor idle while the disk works; with early hints
both work at once. They are hints only: durability comes from the fsync at the end.
"""

import ctypes
import sys
from typing import BinaryIO, Final

_STEP_BYTES: Final = 32 << 20
_START: Final = 2  # SYNC_FILE_RANGE_WRITE: begin, and do not wait


class Writeback:
    """Asks the kernel to write out a file's new bytes, every few megabytes."""

    def __init__(self, file: BinaryIO) -> None:
        """Begin at the file's start; without the system call nothing is done."""
        self._call = None
        if sys.platform == "linux":
            self._call = getattr(ctypes.CDLL(None), "sync_file_range", None)
        self._file = file
        self._written = self._told = 0

    def wrote(self, size_bytes: int) -> None:
        """Count written bytes."""
        self._written += size_bytes
        if self._call is None or self._written - self._told < _STEP_BYTES:
            return
        self._file.flush()
        self._call(
            ctypes.c_int(self._file.fileno()),
            ctypes.c_int64(self._told),
            ctypes.c_int64(self._written - self._told),
            ctypes.c_uint(_START),
        )
        self._told = self._written
