"""Landlock: the child reads the folders that it needs, writes its own, and sees no other.

Where the kernel knows how, it also forbids TCP, and signals to processes outside. Rights and
structures as in the kernel's Documentation/userspace-api/landlock.rst, ABI 1 to 6.
"""

import os
import struct
from collections.abc import Iterable
from pathlib import Path

from deltareg_verify.sandbox import kernel

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_IOCTL_DEV = 1 << 15
# The highest right of each ABI: 1 had thirteen, 2 added refer, 3 truncate, 5 device ioctls.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_ABSTRACT_SOCKETS, _SIGNALS = 1 << 0, 1 << 1
_PATH_BENEATH = 1
_VERSION_FLAG = 1
_FOR_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _IOCTL_DEV | 1 << 14


def restrict(*, readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Forbid this process all files but those below the given paths.

    Paths that are absent are skipped. It needs `no_new_privs` and cannot be undone.

    Raises:
        OSError: The kernel has no Landlock, or refuses.
    """
    abi = kernel.syscall("landlock_create_ruleset", None, 0, _VERSION_FLAG)
    every = (1 << _RIGHTS[min(abi, 5)]) - 1
    handled = _pack_ruleset(abi, every)
    rules = kernel.syscall("landlock_create_ruleset", handled, len(handled), 0)
    try:
        for path in readable:
            _allow(rules, path, every & (_EXECUTE | _READ_FILE | _READ_DIR))
        for path in writable:
            _allow(rules, path, every)
        kernel.syscall("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)


def _pack_ruleset(abi: int, files: int) -> bytes:
    """Pack what the rules cover: files, TCP from ABI 4, signals and sockets outside from ABI 6."""
    if abi >= 6:
        return struct.pack("=QQQ", files, _BIND_TCP | _CONNECT_TCP, _ABSTRACT_SOCKETS | _SIGNALS)
    if abi >= 4:
        return struct.pack("=QQ", files, _BIND_TCP | _CONNECT_TCP)
    return struct.pack("=Q", files)


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        allowed = rights if path.is_dir() else rights & _FOR_FILES
        rule = struct.pack("=Qi", allowed, target)
        kernel.syscall("landlock_add_rule", rules, _PATH_BENEATH, rule, 0)
    finally:
        os.close(target)
