"""Files that several processes share without locks: whole under their name, or absent.

They are written under a temporary name and renamed. Their time of last use is their mtime, set at
every use: neither mount options nor other reads change it.
"""

import errno
import os
import shutil
import time
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

from deltareg.client.disk.drafts import owner_of
from deltareg.errors import DiskFull, InvalidInput

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TRIES = 20


@contextmanager
def draft_in(root: Path) -> Generator[Path, None, None]:
    """Yield a fresh path below a cache to write to; whatever is still there at the end is removed.

    Raises:
        InvalidInput: The cache cannot be written to.
    """
    folder = root / "tmp"
    try:
        with out_of_space(root):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"the cache {root} cannot be written to: {error.strerror}",
            fix="name another folder: DELTAREG_CACHE_DIR, or deltareg config set cache_dir DIR",
        ) from error
    draft = folder / str(uuid.uuid4())
    try:
        yield draft
    finally:
        remove(draft)


def write_draft(draft: Path, body: Iterable[bytes]) -> int:
    """Write a new file, make it read-only, and return its length.

    It is not synced: what a cache loses in a power cut is found by its check values and fetched
    again.
    """
    with draft.open("xb") as file:
        for chunk in body:
            file.write(chunk)
        file.flush()
        draft.chmod(0o444)
        return file.tell()


def put(draft: Path, target: Path) -> None:
    """Rename a finished file into place; its folder may be pruned at the same time."""
    for attempt in range(_TRIES):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(target)
        except (FileNotFoundError, FileExistsError):  # mkdir met it, and looked when it was gone
            if attempt == _TRIES - 1:
                raise
        else:
            return


def keep_note(root: Path, target: Path, raw: bytes) -> None:
    """Keep a small file that may be rewritten later."""
    with draft_in(root) as draft, out_of_space(root):
        write_draft(draft, [raw])
        put(draft, target)


def read_note(path: Path) -> bytes | None:
    """Return the content of a small file, or None if it is not there."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def touch_path(path: Path) -> Path | None:
    """Return an existing path and mark it as used; None if it is not there."""
    now = time.time()
    try:
        os.utime(path, (now, now))
    except FileNotFoundError:
        return None
    except OSError:  # somebody else's cache, or one that cannot be written: it is read all the same
        return path if path.exists() else None
    return path


def make_read_only(folder: Path) -> None:
    """Remove the write permission from every file of a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o444)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(IsADirectoryError):  # another process has just made it: it is in use
            path.unlink(missing_ok=True)


@contextmanager
def out_of_space(path: Path) -> Generator[None, None, None]:
    """Translate a full disk into an error that names the disk.

    Raises:
        DiskFull: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            f"the disk of {owner_of(path)} is full", fix="free space; where the cache lies on it: deltareg cache prune"
        ) from error


def file_state(found: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file is written or replaced: device, inode, size, time."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
