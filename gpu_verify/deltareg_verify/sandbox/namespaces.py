"""Namespaces of its own: the child has no network, and sees no process but its own."""

import os
import resource
import select
import signal
from contextlib import suppress
from pathlib import Path

from deltareg_verify.sandbox import kernel

_NEW_USER, _NEW_PID, _NEW_NET, _NEW_IPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000
# Threads count. Torch and a GPU's driver start some hundreds on the largest machines.
_PROCESSES = 2_048
_FAILED = 70


def leave_network() -> None:
    """Enter namespaces without network and others' shared memory, as a user without rights there.

    Raises:
        OSError: The kernel refuses.
    """
    user, group = os.getuid(), os.getgid()
    try:
        kernel.unshare(_NEW_USER | _NEW_NET | _NEW_IPC)
    except OSError:
        kernel.unshare(_NEW_NET | _NEW_IPC)  # root where user namespaces are off
        return
    # Without a map every file of one's own would look like somebody else's.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    # Counted within the new user namespace: other processes of the user do not fill it.
    resource.setrlimit(resource.RLIMIT_NPROC, (_PROCESSES, _PROCESSES))


def become_first() -> None:
    """Go on as the first process of a pid namespace, whose end is the end of all in it.

    A process never enters another pid namespace, only its children do. So this forks; it returns in
    the new process alone, while the old one waits for it, ends as it ended, and holds it: whoever
    kills the one kills the other.

    Raises:
        OSError: The kernel refuses; nothing was forked.
    """
    kernel.unshare(_NEW_PID)
    hears, holds = os.pipe()
    pid = os.fork()
    if pid:
        _end_as(pid)
    os.close(holds)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    # A parent outside the namespace has no number here, but its end of a pipe closes with it.
    if select.select([hears], [], [], 0)[0]:
        os._exit(_FAILED)
    os.close(hears)


def _end_as(pid: int) -> None:
    status = _FAILED
    try:
        _, ended = os.waitpid(pid, 0)
        status = os.waitstatus_to_exitcode(ended)
        if status < 0:
            with suppress(OSError):  # nobody can handle SIGKILL, so nobody can reset it
                signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
    finally:
        os._exit(status if status >= 0 else _FAILED)
