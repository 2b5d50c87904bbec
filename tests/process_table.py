"""Which processes there are, as the kernel tells: any of them may end while it is looked at."""

import os
import time
from contextlib import suppress
from pathlib import Path

DEADLINE_S = 30.0


def is_alive(pid):
    """Whether a process runs; one that ended and was not waited for does not."""
    stat = _stat(pid)
    return bool(stat) and stat[0] not in {"Z", "X"}


def has_ended(pid):
    """Wait until a process has ended; False where it still runs at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def processes_below(pid):
    """List processes that a process has started, and those that they have."""
    found: list[int] = []
    with suppress(OSError):
        for told in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, told.read_text().split())
    return found + [below for child in found for below in processes_below(child)]


def processor_s(pid):
    """Give the processor time of a process and of all below it, those that have ended included."""
    ticks = sum(sum(map(int, _stat(one)[11:15])) for one in [pid, *processes_below(pid)])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """Give what proc(5) tells of a process from its state on; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
