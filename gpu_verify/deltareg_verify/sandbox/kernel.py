"""Linux system calls that Python has no function for, by number, through ctypes."""

import ctypes
import os
import platform
import struct
import sys

# From 424 on a call has the same number on every processor.
_NUMBERS = {
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
_SEIZE = 0x4206
_M_MMAP_THRESHOLD = -3
_KEPT_BLOCK_BYTES = 1 << 20
_CAPABILITY_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def is_linux() -> bool:
    """Return whether these calls exist here at all."""
    return _libc is not None


def machine() -> str:
    """Return the processor's name, `x86_64`, `aarch64`, …."""
    return platform.machine()


def prctl(option: int, *values: int | ctypes.Array[ctypes.c_char]) -> None:
    """Set an attribute of this process or thread.

    Raises:
        OSError: The kernel refused it.
    """
    padded = [*values, *([0] * (4 - len(values)))]
    _check("prctl", *(_word(value) for value in (option, *padded)))


def return_freed_memory() -> None:
    """Have the C library return blocks as soon as they are freed, where it is glibc.

    It would keep those of up to 32 MiB for later (mallopt(3), M_MMAP_THRESHOLD), which counts as
    private memory.
    """
    setting = getattr(_libc, "mallopt", None)
    if setting is not None:
        setting(_M_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES)


def unshare(flags: int) -> None:
    """Leave the namespaces of `flags` for new ones.

    Raises:
        OSError: The kernel refused it.
    """
    _check("unshare", ctypes.c_int(flags))


def mount(source: str, target: str, *, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount a file system or, by its flags, bind or change one.

    Raises:
        OSError: The kernel refused it.
    """
    texts = [word.encode() if word else None for word in (source, target, kind)]
    data = ctypes.c_char_p(options.encode() or None)
    _check("mount", *map(ctypes.c_char_p, texts), ctypes.c_ulong(flags), data)


def drop_capabilities() -> None:
    """Give up every capability for good, including those over its own namespaces.

    Raises:
        OSError: The kernel refused it.
    """
    head = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    _check("capset", ctypes.c_char_p(head), ctypes.c_char_p(bytes(24)))


def trace(pid: int) -> None:
    """Become the tracer of a process, which goes on running.

    Raises:
        OSError: The kernel refused it.
    """
    _check("ptrace", *(ctypes.c_ulong(value) for value in (_SEIZE, pid, 0, 0)))


def syscall(name: str, *values: int | bytes | None) -> int:
    """Call a system call by name that the C library may have no function for.

    Raises:
        OSError: The kernel refused it or does not have it.
    """
    words = (ctypes.c_char_p(v) if isinstance(v, bytes) else _word(v or 0) for v in values)
    return _check("syscall", ctypes.c_long(_NUMBERS[name]), *words)


def _word(value: int | ctypes.Array[ctypes.c_char]) -> object:
    return ctypes.c_ulong(value) if isinstance(value, int) else value


def _check(function: str, *arguments: object) -> int:
    if _libc is None:
        raise OSError(f"{function} is a call of Linux, this is {sys.platform}")
    result = int(getattr(_libc, function)(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
    return result
