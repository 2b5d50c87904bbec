"""Twelve ways out of the sandbox. Each is tried inside it at start-up, and none may succeed.

Every function tries one thing that a run never needs and that works outside, against a target made
for the purpose, and returns whether it succeeded. None does harm where it does: what is written is
removed, what is started is ended, and no address leaves the machine but that of cloud metadata.
"""

import mmap
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from deltareg_verify.messages.report import ReportWriter
from deltareg_verify.messages.requests import ProcessRequest
from deltareg_verify.sandbox import kernel
from deltareg_verify.sandbox.layers import SandboxLimits, enter

METADATA = ("169.254.169.254", 80)
_PATIENCE_S = 0.25
_FORKS = 32
_CPU_S = 60
_NO_RESERVE = 0x4000  # MAP_NORESERVE: however little memory is free, what counts is the bound
# The machine's passwords, and a file that every user may read and no run needs.
_SYSTEM = (Path("/etc/shadow"), Path("/etc/passwd"))
# A question for the address of `example.`, as RFC 1035 section 4 writes it.
_QUESTION = b"\x5e\xa1\x01\x00\x00\x01\0\0\0\0\0\0\x07example\0\0\x01\0\x01"

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class EscapeTargets(ProcessRequest):
    """What the escapes are tried on.

    Attributes:
        host: A host that takes TCP connections.
        metadata: Where clouds hand out credentials, or a stand-in for it.
        resolver: A server that answers DNS queries.
        own: The folder that the child may write.
        outside: A folder that it may not, with a file `secret` in it.
        memory_bytes: The bound on memory; None where there is none to break.
        file_bytes: The bound on a file.
        parent: The process that forks children.
    """

    host: Address
    metadata: Address
    resolver: Address
    own: Path
    outside: Path
    memory_bytes: int | None
    file_bytes: int
    parent: int = 0


@dataclass(frozen=True, slots=True)
class Escape:
    """One way out.

    Attributes:
        name: As verdicts and settings call it.
        deed: What a child that takes it can do, in words that follow "can".
        layers: Those of the sandbox that each close it; the first is the one made for it.
        attempt: Tries it.
    """

    name: str
    deed: str
    layers: tuple[str, ...]
    attempt: Callable[[EscapeTargets], bool]


def targets_of(request: bytes) -> EscapeTargets:
    """Read a request in the process that is about to fork, the parent to be."""
    return replace(EscapeTargets.decode(request), parent=os.getpid())


def escape(targets: EscapeTargets, out: BinaryIO) -> None:
    """Enter the sandbox as for a run and report which escapes still succeed there."""
    memory_bytes = targets.memory_bytes
    level = enter(SandboxLimits((), targets.own, _CPU_S, memory_bytes, used_bytes=memory_bytes))
    names = " ".join(try_escapes(targets))
    ReportWriter(out).end(dtype="", sandbox=level, environment={"escapes": names})


def try_escapes(targets: EscapeTargets) -> list[str]:
    """Try all escapes and return the names of those that succeed."""
    return [way.name for way in ESCAPES if _succeeds(way, targets)]


def _succeeds(way: Escape, targets: EscapeTargets) -> bool:
    try:
        return way.attempt(targets)
    except (OSError, MemoryError, ValueError):
        return False


def connect(targets: EscapeTargets) -> bool:
    """Connect to a host."""
    return _answers(targets.host)


def ask_metadata(targets: EscapeTargets) -> bool:
    """Connect to the address where a cloud hands out the machine's credentials."""
    return _answers(targets.metadata)


def resolve(targets: EscapeTargets) -> bool:
    """Ask a name server, which also carries data out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(_PATIENCE_S)
        client.sendto(_QUESTION, targets.resolver)
        return client.recv(512)[:2] == _QUESTION[:2]


def read_file(targets: EscapeTargets) -> bool:
    """Read a file of another user, or of the system."""
    return any(map(_is_readable, _foreign(targets)))


def write_file(targets: EscapeTargets) -> bool:
    """Write a file elsewhere."""
    path = targets.outside / "written"
    path.write_text("out")
    path.unlink()
    return True


def follow_link(targets: EscapeTargets) -> bool:
    """Read another user's file through a link in the own folder."""
    return any(_is_readable_by_link(targets.own / "link", path) for path in _foreign(targets))


def execute(targets: EscapeTargets) -> bool:
    """Start a shell."""
    del targets
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {})
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def trace_parent(targets: EscapeTargets) -> bool:
    """Trace the process that forks children, whose memory is then one's own."""
    kernel.trace(targets.parent)
    return True


def read_environment(targets: EscapeTargets) -> bool:
    """Read the environment of the process that forks children."""
    return bool(Path(f"/proc/{targets.parent}/environ").read_bytes())


def take_memory(targets: EscapeTargets) -> bool:
    """Take twice the allowed memory; it is not touched, so that nobody else runs short."""
    if targets.memory_bytes is None:
        return False
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    with mmap.mmap(-1, 2 * targets.memory_bytes, flags=kind):
        return True


def multiply(targets: EscapeTargets) -> bool:
    """Start processes that stay, as a fork bomb does, but only a few."""
    del targets
    started: list[int] = []
    with suppress(OSError):
        started.extend(_fork_sleeper() for _ in range(_FORKS))
    for pid in started:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(started) == _FORKS


def fill_disk(targets: EscapeTargets) -> bool:
    """Write a file twice as large as allowed; all but its end is a hole."""
    path = targets.own / "large"
    try:
        with path.open("wb", buffering=0) as file:
            file.seek(2 * targets.file_bytes - 1)
            file.write(b"\0")
        return path.stat().st_size > targets.file_bytes
    finally:
        path.unlink()


def _answers(address: Address) -> bool:
    with socket.create_connection(address, timeout=_PATIENCE_S):
        return True


def _foreign(targets: EscapeTargets) -> tuple[Path, ...]:
    return targets.outside / "secret", *_SYSTEM


def _is_readable_by_link(link: Path, path: Path) -> bool:
    link.symlink_to(path)
    try:
        return _is_readable(link)
    finally:
        link.unlink()


def _is_readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


def _fork_sleeper() -> int:
    pid = os.fork()
    if pid == 0:
        try:
            signal.pause()
        finally:
            os._exit(0)
    return pid


ESCAPES = (
    Escape("connect", "connect to a host", ("network", "calls"), connect),
    Escape("metadata", "ask the cloud's metadata service", ("network", "calls"), ask_metadata),
    Escape("dns", "ask a name server", ("network", "calls"), resolve),
    Escape("read", "read the files of others", ("files",), read_file),
    Escape("write", "write outside its folder", ("files", "mount"), write_file),
    Escape("symlink", "read the files of others through a link", ("files",), follow_link),
    Escape("exec", "start a shell", ("calls",), execute),
    Escape("ptrace", "trace its parent", ("calls", "pid", "files"), trace_parent),
    Escape("environ", "read its parent's environment", ("files",), read_environment),
    Escape("memory", "take twice the memory allowed", ("limits",), take_memory),
    Escape("fork", "start processes", ("calls",), multiply),
    Escape("file_size", "write files twice as large as allowed", ("limits",), fill_disk),
)
