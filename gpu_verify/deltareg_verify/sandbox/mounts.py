"""A mount namespace: the child's own view of the files, read-only except for its folder.

That folder is memory of a bounded size, so that no child can fill the disk with what it writes.
Places where other programs leave files and sockets are empty there, `/proc` shows its own processes
alone. Flags as in mount(2) and mount_setattr(2).
"""

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deltareg_verify.sandbox import kernel

_NEW_MOUNTS = 0x00020000
_NO_SUID, _NO_DEVICES, _NO_EXECUTION = 0x2, 0x4, 0x8
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
_READ_ONLY = 0x1
_HERE, _AT_RECURSIVE = -100, 0x8000
_SHARED = "/dev/shm"  # noqa: S108  # libraries share memory there, with nobody here
ROOM_BYTES = 256 << 20  # what a child writes is links and small documents
_SHARED_BYTES = 1 << 30
# Landlock says nothing about connecting to a socket file, and these hold all of them.
_EMPTIED = ("/tmp", "/var/tmp", "/run", _SHARED)  # noqa: S108


def isolate(*, readable: Iterable[Path], writable: Path, delivery: Path | None = None) -> None:
    """Leave the mounts of the machine for a view that is this process's alone.

    Args:
        readable: Paths that stay visible although they lie in emptied places.
        writable: The one folder that is not read-only; what lies in it is hidden meanwhile.
        delivery: A folder on the disk that is not read-only either.

    Raises:
        OSError: The kernel refuses; the view is then partly restricted.
    """
    kernel.unshare(_NEW_MOUNTS)
    kernel.mount("none", "/", flags=_RECURSIVE | _PRIVATE)
    emptied = _places()
    mounts = [_Kept.hold(path) for path in _topmost([*readable, writable], emptied)]
    own = _Kept.hold(writable.resolve())
    lasting = [] if delivery is None else [_Kept.hold(delivery.resolve())]
    for place in emptied:
        place.mkdir(parents=True, exist_ok=True)  # it may lie in one that is empty by now
        _mount_room(place, _SHARED_BYTES)
    for item in (*mounts, own, *lasting):
        item.bind()
    _mount_room(own.path, ROOM_BYTES)
    os.chdir(own.path)
    _set("/", read_only=True, flags=_AT_RECURSIVE)
    shared = [Path(_SHARED)] if Path(_SHARED).is_dir() else []
    for path in (own.path, writable.absolute(), *(one.path for one in lasting), *shared):
        _set(str(path), read_only=False)
    kernel.mount("proc", "/proc", kind="proc", flags=_NO_SUID | _NO_DEVICES | _NO_EXECUTION)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A path held open while something else is mounted over it."""

    path: Path
    descriptor: int

    @classmethod
    def hold(cls, path: Path) -> "_Kept":
        return cls(path, os.open(path, os.O_PATH | os.O_CLOEXEC))

    def bind(self) -> None:
        source = f"/proc/self/fd/{self.descriptor}"
        if not self.path.exists():
            is_folder = Path(source).is_dir()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir() if is_folder else self.path.touch()
        kernel.mount(source, str(self.path), flags=_BIND | _RECURSIVE)
        os.close(self.descriptor)


def _mount_room(place: Path, size_bytes: int) -> None:
    options = f"size={size_bytes},nr_inodes=65536,mode=0755"
    kernel.mount("tmpfs", str(place), kind="tmpfs", flags=_NO_SUID | _NO_DEVICES, options=options)


def _places() -> list[Path]:
    """Return the folders to empty, each once: `/var/tmp` may be a link to `/tmp`."""
    return sorted({Path(item).resolve() for item in _EMPTIED if Path(item).is_dir()})


def _topmost(paths: Iterable[Path], emptied: Sequence[Path]) -> list[Path]:
    """Return the paths below the emptied places, as given and as links lead, but none below another."""
    every = {way for path in paths if path.exists() for way in (path.absolute(), path.resolve())}
    hidden = [path for path in sorted(every) if any(map(path.is_relative_to, emptied))]
    return [path for path in hidden if not any(other in path.parents for other in hidden)]


def _set(path: str, *, read_only: bool, flags: int = 0) -> None:
    # struct mount_attr: flags to set, flags to clear, propagation, a user namespace.
    change = (_READ_ONLY, 0) if read_only else (0, _READ_ONLY)
    attributes = struct.pack("=QQQQ", *change, 0, 0)
    kernel.syscall("mount_setattr", _HERE, path.encode(), flags, attributes, len(attributes))
