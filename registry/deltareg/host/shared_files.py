"""Small files that several processes of a user change: one at a time, and never half.

A change reads the file under a lock on its folder, and replaces it as a whole. A killed process
releases its lock. Where a file system has no locks, and against programs that take none, the file
is compared with what was read before it is replaced, and the change is made anew if it differs.
"""

import errno
import fcntl
import os
import stat
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_NO_LOCKS: Final = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def change_file(path: Path, change: Callable[[bytes | None], bytes | None]) -> bool:
    """Change a file, from what it holds at that moment; return whether its content changed.

    A link stays a link, and the file keeps its mode.

    Args:
        path: The file; its folder is made if it is missing.
        change: Returns the new content from the old one, which is None where there is no file; None leaves it as it
            is. It may be called more than once, and must not change a file of the same folder.

    Raises:
        OSError: The file cannot be read or written.
    """
    real = path.resolve()
    real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with hold_folder(real.parent):
        while True:
            before = _read(real)
            after = change(before)
            if _read(real) != before:
                continue
            if after is None or after == before:
                return False
            replace_file(real, after)
            return True


def replace_file(path: Path, raw: bytes) -> None:
    """Write a file whole or not at all, and sync it; one that is there keeps its mode.

    Raises:
        OSError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mode = None
    try:
        with draft.open("xb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def hold_folder(folder: Path) -> Generator[None, None, None]:
    """Let nobody else change shared files of a folder during the block.

    Raises:
        OSError: There is no such folder, or it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        with suppress(OSError):
            os.close(descriptor)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
