"""Having the kernel write to the disk while a file is still being made.

What is synced at the end of a large file waits for the disk alone, with the processor idle; told
early, the disk works beside it. A hint and no more: durability comes from the fsync at the end.
"""

import ctypes
import sys
from typing import BinaryIO, Final

_STEP_BYTES: Final = 32 << 20
_START: Final = 2  # SYNC_FILE_RANGE_WRITE: begin, and do not wait


class Writeback:
    """Tells the kernel of what was written to a file, every few megabytes."""

    def __init__(self, file: BinaryIO) -> None:
        """Begin at the file's start; nothing is done where there is no such call."""
        self._call = None
        if sys.platform == "linux":
            self._call = getattr(ctypes.CDLL(None), "sync_file_range", None)
        self._file = file
        self._written = self._told = 0

    def wrote(self, size_bytes: int) -> None:
        """Count bytes that were written."""
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
