"""Limits a child to what it needs. Each layer is tried, and the result says which hold.

The layers are independent. A kernel without one of them weakens the sandbox and never stops the
run; the verdict records which held, so that a policy can ask for them.
"""

import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deltareg_verify.sandbox import cgroup, kernel, landlock, mounts, namespaces, seccomp

LAYERS = ("limits", "no_new_privs", "network", "files", "calls", "pid", "mount", "cgroup")
FILE_BYTES = 64 << 20
_OPEN_FILES = 1024
_SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc",
    "/sys",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
)
_DEVICES = ("/dev/null", "/dev/shm", "/dev/dri")  # noqa: S108  # CUDA shares memory there


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """The limits of one child.

    Attributes:
        readable: Folders that it may read, in addition to the system's and the interpreter's.
        writable: The folder that it may write.
        cpu_s: Seconds of processor time, over all threads.
        memory_bytes: Private memory; None with a GPU, whose driver reserves far more than it uses.
        used_bytes: Memory in use, shared memory too; it needs a control group.
        delivery: A folder that it may write as well, and that others find filled when it is gone.
        file_bytes: The largest file that it may write.
    """

    readable: Sequence[Path]
    writable: Path
    cpu_s: int
    memory_bytes: int | None
    used_bytes: int | None = None
    delivery: Path | None = None
    file_bytes: int = FILE_BYTES

    @property
    def written(self) -> Sequence[Path]:
        """All folders that it may write."""
        return [self.writable] if self.delivery is None else [self.writable, self.delivery]


def enter(bounds: SandboxLimits) -> str:
    """Restrict this process for good, and return which layers hold.

    Where the kernel allows a pid namespace it returns in a new process, the first one there.

    Returns:
        Text such as `session limits no_new_privs network files calls pid mount -cgroup`, where a
        `-` is before what is missing.
    """
    layers: list[tuple[str, Callable[[], None]]] = [
        ("cgroup", lambda: _join_group(bounds)),
        ("network", namespaces.leave_network),
        ("pid", namespaces.become_first),
        ("mount", lambda: _leave_mounts(bounds)),
        ("limits", lambda: _limit(bounds)),
        ("no_new_privs", _give_up_rights),
        ("files", lambda: _hide_files(bounds)),
        ("calls", seccomp.restrict),
    ]
    held_layers = {name for name, layer in layers if _holds(layer)}
    return " ".join(["session", *(name if name in held_layers else f"-{name}" for name in LAYERS)])


def memory_bound(device: str, memory_bytes: int) -> int | None:
    """Return the memory limit of a child on a device; 0 in `memory_bytes` means no limit."""
    return memory_bytes if device == "cpu" and memory_bytes > 0 else None


def linked_from(folders: Iterable[Path]) -> list[Path]:
    """Return the folders into which files of these are links, as those of a hub's cache are."""
    files = (path for folder in folders for path in folder.rglob("*"))
    return sorted({path.resolve().parent for path in files if path.is_symlink()})


def detach(supervisor: int) -> None:
    """Lead a session of its own, and die when the parent does; call it right after the fork."""
    os.setsid()
    end_with(supervisor, signal.SIGKILL)


def end_with(parent: int, number: signal.Signals) -> None:
    """Get a signal when the parent process ends, however it ends."""
    if kernel.is_linux():
        kernel.prctl(kernel.PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it ended before the signal was asked for
        os.kill(os.getpid(), number)


def adopt() -> None:
    """Become the parent of all orphans of one's children, so that they can be ended."""
    if kernel.is_linux():
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)


def conceal() -> None:
    """Keep other processes of the same user from reading this one's memory and environment."""
    if kernel.is_linux():
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def interpreter_folders() -> list[Path]:
    """Return the folders that Python imports from: the interpreter's and everything on its path."""
    paths = {sys.prefix, sys.base_prefix, *sys.path, *sysconfig.get_paths().values()}
    return sorted({Path(item).resolve() for item in paths if item and Path(item).exists()})


def _holds(layer: Callable[[], None]) -> bool:
    try:
        layer()
    except (OSError, ValueError):  # the kernel lacks it or forbids it here; the level says so
        return False
    return True


def _limit(bounds: SandboxLimits) -> None:
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: bounds.file_bytes,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CPU: bounds.cpu_s,
    }
    if bounds.memory_bytes is not None:
        limits[resource.RLIMIT_DATA] = bounds.memory_bytes
    for what, most in limits.items():
        _, hard = resource.getrlimit(what)
        ceiling = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (ceiling, ceiling))
    with suppress(OSError):  # when memory runs out, this process goes and not who holds the token
        Path("/proc/self/oom_score_adj").write_text("1000")


def _join_group(bounds: SandboxLimits) -> None:
    parent = os.getppid()
    cgroup.join(cgroup.own_group(), number=parent, memory_bytes=bounds.used_bytes)


def _give_up_rights() -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    # The first process of a user namespace may do anything there, such as undoing its mounts.
    kernel.drop_capabilities()


def _leave_mounts(bounds: SandboxLimits) -> None:
    readable = [*interpreter_folders(), *bounds.readable]
    mounts.isolate(readable=readable, writable=bounds.writable, delivery=bounds.delivery)


def _hide_files(bounds: SandboxLimits) -> None:
    system = [Path(item) for item in _SYSTEM]
    devices = [Path(item) for item in _DEVICES] + sorted(Path("/dev").glob("nvidia*"))
    landlock.restrict(
        readable=[*system, *interpreter_folders(), *bounds.readable], writable=[*bounds.written, *devices]
    )
