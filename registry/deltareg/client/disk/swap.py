"""Lets two folders exchange their names."""

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_EXCHANGE: Final = 2
_CANNOT: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


def exchange(one: Path, other: Path) -> None:
    """Exchange the names of two folders on one file system.

    In one step on Linux (renameat2). Elsewhere, and on file systems that cannot, in three renames:
    a kill between them leaves both folders whole, one of them under a name that begins with that of
    `one`.

    Raises:
        OSError: One is a link or a mount, or does not exist.
    """
    if one.is_symlink() or other.is_symlink():
        raise OSError(errno.ELOOP, "it is a link")
    if not _in_one_step(one, other):
        between = one.with_name(f"{one.name}-exchanged")
        other.rename(between)
        try:
            one.rename(other)
        except OSError:
            between.rename(other)
            raise
        between.rename(one)


def _in_one_step(one: Path, other: Path) -> bool:
    """Exchange the names in one step, and return whether that worked."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if sys.platform != "linux" or call is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_EXCHANGE)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code))
