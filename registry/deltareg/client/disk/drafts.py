"""Folders in the making: they lie beside their target, and are swept if their maker was killed.

A draft's name identifies its maker: the boot of this machine, its process id namespace, and the
process. Only processes of the same namespace can tell that the maker is gone; other drafts are
removed when nobody has touched them for long.
"""

import functools
import hashlib
import os
import platform
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

STALE_S = 2 * 86_400
_PREFIX = ".deltareg-"
_NAME = re.compile(r"\.deltareg-(?P<place>[0-9a-f]{12})-(?P<pid>[0-9]+)-[0-9]+")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PROCESS_IDS = Path("/proc/self/ns/pid")


def draft_name(parent: Path) -> Path:
    """Return a fresh draft name in a folder."""
    return parent / f"{_PREFIX}{_place()}-{os.getpid()}-{time.monotonic_ns()}"


def is_draft(path: Path) -> bool:
    """Whether a folder is a draft, in use or left by a killed process."""
    return path.name.startswith(_PREFIX)


def owner_of(path: Path) -> Path:
    """Return the folder that people know, for a path that may lie in a draft."""
    inside = [part for part in (path, *path.parents) if is_draft(part)]
    return inside[-1].parent if inside else path


def sweep_drafts(parent: Path, *, now: float | None = None) -> None:
    """Remove the drafts in a folder that nobody works on any more."""
    moment = time.time() if now is None else now
    with suppress(OSError):  # not to be listed: what is left there is not worth a word
        for draft in parent.glob(f"{_PREFIX}*"):
            if _is_left(draft, moment):
                shutil.rmtree(draft, ignore_errors=True)


def _is_left(draft: Path, now: float) -> bool:
    """Whether nobody works on a draft: its maker is gone, or nobody has touched it for long."""
    name = _NAME.fullmatch(draft.name)
    if name is not None and name["place"] == _place():
        return not _is_running(int(name["pid"]))
    return now - max(path.stat().st_mtime for path in (draft, *draft.rglob("*"))) > STALE_S


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


@functools.cache
def _place() -> str:
    """Return an identifier of this machine's boot and process id namespace."""
    facts = [platform.node()]
    with suppress(OSError):  # where there is no /proc, the machine's name has to do
        facts += [_BOOT.read_text(), str(_PROCESS_IDS.stat().st_ino)]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:12]
