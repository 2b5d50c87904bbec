"""A worker's options: plain values, resolved by the entry point."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deltareg_verify.sandbox import cgroup

_MOST_LEFT_BYTES = 8 << 30


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """A worker's options.

    Attributes:
        name: Its name on the server.
        gpu: A GPU's number, `cpu`, or `auto`.
        base_dirs: Folders of bases, or folders that contain such folders.
        scratch: Where runs are unpacked.
        lease_wait_s: Seconds that one request for work waits on the server.
        run_timeout_s: Seconds after which a child is killed.
        stop_grace_s: Seconds that a run may still take once the worker is to stop.
        threads: Processor threads of a child; 0 takes all.
        memory_bytes: Private memory of a child on a CPU; 0 sets no limit.
        accepted_layers: Layers of the sandbox whose escapes are accepted where they are missing.
        base_cache_bytes: Bytes of fetched bases that stay between runs; 0 sets no limit.
        key_file: The key that it signs with; made where there is none.
        host: Its machine's name; empty to ask the machine.
        is_once: Whether to end after one run, or when there is none.
        only_run: The one run to take, and nothing else.
        only: The kinds of runs to take; empty takes all that it knows.
        idle_s: Seconds without work after which it ends; 0 waits for ever.
        labels: What else it offers, for runs that ask for labels.
        id_token_file: What its cluster says of its pod, from which it gets its token; None elsewhere.
    """

    name: str
    gpu: str
    base_dirs: tuple[Path, ...]
    scratch: Path
    lease_wait_s: float
    run_timeout_s: float
    stop_grace_s: float
    threads: int
    memory_bytes: int
    accepted_layers: frozenset[str] = frozenset()
    base_cache_bytes: int = 0
    key_file: Path = Path("worker-key.pem")
    host: str = ""
    is_once: bool = False
    only_run: str = ""
    only: tuple[str, ...] = ()
    idle_s: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    id_token_file: Path | None = None


def default_name() -> str:
    """Return the default name of this process as a worker: host and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"[:120]


def share_of_memory(workers: int) -> int:
    """Return the bytes that a child may take by default: an equal share of this machine for each worker.

    A quarter of the memory, at most 8 GiB, is left to the system, the supervisors with their warm
    processes, and a server beside them.

    Args:
        workers: How many workers this machine runs.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = cgroup.memory_limit(cgroup.own_group())
    except OSError:  # no cgroup v2, so no limit of a container
        limit = None
    memory = min(machine, limit or machine)
    return (memory - min(memory // 4, _MOST_LEFT_BYTES)) // workers
