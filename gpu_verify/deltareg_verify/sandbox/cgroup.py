"""A control group of the child's own, by which the kernel limits its memory and processes.

It needs cgroup v2 and a group that is delegated to the worker, as by systemd's `Delegate=`. A group
with processes hands nothing down to groups below it, so the worker first moves into one of them
(Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint").
"""

import os
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")
_SUPERVISOR = "deltareg-supervisor"
_CHILD_PREFIX = "deltareg-child-"
_PROCESSES = 2_048
_TRIES, _PAUSE_S = 50, 0.01


def own_group(root: Path = ROOT) -> Path:
    """Find the group of this process.

    Raises:
        OSError: There is no cgroup v2 here.
    """
    if not (root / "cgroup.controllers").exists():
        raise FileNotFoundError(f"no cgroup v2 in {root}")
    for line in _SELF.read_text().splitlines():
        if line.startswith("0::"):
            return root / line.removeprefix("0::").lstrip("/")
    raise FileNotFoundError("this process is in no group of cgroup v2")


def claim(group: Path) -> None:
    """Prepare a group to hold children, if it is the worker's alone; may be called twice.

    Raises:
        OSError: It is not delegated, lacks a controller, or holds processes of others.
    """
    if group.name == _SUPERVISOR:
        return
    members = {int(word) for word in (group / "cgroup.procs").read_text().split()}
    if others := members - {os.getpid(), os.getppid()}:
        raise PermissionError(f"{group} holds other processes: {sorted(others)[:3]}")
    leaf = group / _SUPERVISOR
    leaf.mkdir(exist_ok=True)
    for pid in sorted(members):
        (leaf / "cgroup.procs").write_text(str(pid))
    (group / "cgroup.subtree_control").write_text("+memory +pids")


def join(supervisor: Path, *, number: int, memory_bytes: int | None) -> None:
    """Move this process, and all that it starts, into a limited group beside the supervisor's.

    Args:
        supervisor: The group of the process that forked this one.
        number: Tells the children of several workers apart.
        memory_bytes: Memory that all of them together may use; None sets no limit.

    Raises:
        OSError: The kernel refuses; the process is where it was.
    """
    if supervisor.name != _SUPERVISOR:
        raise PermissionError(f"{supervisor} is no group that was claimed")
    group = supervisor.with_name(f"{_CHILD_PREFIX}{number}")
    group.mkdir(exist_ok=True)
    (group / "pids.max").write_text(str(_PROCESSES))
    (group / "memory.max").write_text("max" if memory_bytes is None else str(memory_bytes))
    with suppress(OSError):  # a kernel that does not count swap has no such file
        (group / "memory.swap.max").write_text("0")
    (group / "memory.oom.group").write_text("1")
    (group / "cgroup.procs").write_text("0")


def end(supervisor: Path, *, number: int) -> None:
    """Kill everything in a child's group and remove the group, where there is one."""
    group = supervisor.with_name(f"{_CHILD_PREFIX}{number}")
    if supervisor.name != _SUPERVISOR or not group.exists():
        return
    with suppress(OSError):  # kernels before 5.14 cannot, and what is left then keeps the group
        (group / "cgroup.kill").write_text("1")
    for _ in range(_TRIES):
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(_PAUSE_S)


def memory_limit(group: Path, root: Path = ROOT) -> int | None:
    """Return the lowest memory limit of a group and those above it; None without a limit."""
    limits: list[int] = []
    for place in (group, *group.parents):
        with suppress(OSError, ValueError):  # "max" is no number, and the root has no such file
            limits.append(int((place / "memory.max").read_text()))
        if place == root:
            break
    return min(limits, default=None)
