"""A store in a folder of a local file system, safe against a kill and a loss of power.

An object's path is its key below the root. Bytes go to `tmp/` first and are given their name by a
hard link once they are on the disk, so a name never stands for part of an object, and a name that
exists is never replaced::

    tmp/<random> ── write, fsync ──► link to blobs/<sha256>/<uuid4> ──► fsync of both folders
"""

import errno
import fcntl
import logging
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

from deltareg.errors import (
    BlobMissing,
    Conflict,
    DeltaregError,
    DiskFull,
    IntegrityFailure,
    StoreMisconfigured,
    StoreUnavailable,
)
from deltareg.host.urls import split_url
from deltareg.store.blob_store import (
    CHUNK_BYTES,
    check_prefix,
    folder_of_log,
    is_key,
    is_of_backup,
    key_taken,
    parse_deletable,
    parse_evidence,
    parse_key,
    range_end,
)
from deltareg.store.probe import probe
from deltareg.store.schemes import NoOptions, StoreScheme, not_a_url

_log = logging.getLogger(__name__)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_WRONG_FOLDER = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTSUP,
        errno.ENOSYS,
        errno.ENOENT,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
    }
)
_LINK_ATTEMPTS = 16


class LocalStore:
    """Objects as files below one folder, which several processes of one machine may share."""

    def __init__(self, root: Path) -> None:
        """Open the folder, make it if needed, and drop what killed writers left in it.

        Raises:
            StoreMisconfigured: The folder cannot be made or written.
        """
        self._root = root
        self._blobs = root / "blobs"
        self._temporary = root / "tmp"
        with _disk_errors(root):
            _make_folder(self._blobs)
            _make_folder(self._temporary)
            _drop_abandoned(self._temporary)

    def write(self, key: str, body: Iterable[bytes]) -> int:
        parse_key(key)
        path = self._root / key
        temporary = self._temporary / uuid4().hex
        with _locked_file(temporary) as descriptor:
            size = _fill(descriptor, temporary, body)
            with _disk_errors(path):
                _publish(temporary, path, key)
        return size

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        parse_key(key)
        chunks = _chunks(self._root / key, key, start, stop)
        next(chunks)  # opens the file, so that the call itself says what is missing
        return chunks

    def size(self, key: str) -> int | None:
        parse_key(key)
        path = self._root / key
        with _disk_errors(path):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                self._blobs.stat()  # a disk that is not mounted is no missing object
                return None

    def delete(self, key: str) -> None:
        path = self._root / parse_deletable(key)
        with _disk_errors(path):
            try:
                path.unlink()
                # Without this a loss of power could bring back an object whose row is gone.
                _sync_folder(path.parent)
            except FileNotFoundError:
                self._blobs.stat()
        with suppress(OSError):  # other attempts at the same bytes may still be in there
            path.parent.rmdir()

    def keys(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        check_prefix(prefix)
        return _listing(self._blobs, prefix)

    def url(self, key: str, *, expires_s: int) -> str | None:
        parse_key(key)
        return None

    def keep(self, name: str, data: bytes) -> bool:
        path = self._root / parse_evidence(name)
        with _disk_errors(path):
            _make_folder(path.parent)
        temporary = self._temporary / uuid4().hex
        with _locked_file(temporary) as descriptor:
            _fill(descriptor, temporary, [data])
            with _disk_errors(path), suppress(FileExistsError):
                path.hardlink_to(temporary)
                _sync_folder(path.parent)
        return False

    def read_log(self, log: str) -> Iterator[bytes]:
        folder = self._root / folder_of_log(log)
        with _disk_errors(folder):
            paths = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in paths:
            may_go = (FileNotFoundError,) if is_of_backup(folder_of_log(log)) else ()
            with _disk_errors(path), suppress(*may_go):
                yield path.read_bytes()

    def clock(self) -> float:
        """Return the time that a new file gets, in seconds since the epoch: with NFS another host's."""
        path = self._temporary / uuid4().hex
        with _locked_file(path) as descriptor, _disk_errors(path):
            os.write(descriptor, b"\0")
            return os.fstat(descriptor).st_mtime

    def check(self) -> None:
        probe(self, where=str(self._root))


@contextmanager
def _locked_file(path: Path) -> Generator[int, None, None]:
    """Make a temporary file, give its descriptor, and take its name away in the end.

    The lock is the kernel's mark that the writer lives: `_drop_abandoned` leaves such a file alone.
    """
    with _disk_errors(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        with suppress(OSError):  # what stays is dropped at the next start
            path.unlink()
        os.close(descriptor)


def _drop_abandoned(folder: Path) -> None:
    """Remove the files of dead writers. A writer that just began may lose its file and retries."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            _log.info("dropped the file of a writer that was killed", extra={"path": str(path)})


def _fill(descriptor: int, path: Path, body: Iterable[bytes]) -> int:
    """Copy the body into a file and wait until the disk has it; errors of the body pass."""
    size = 0
    for chunk in body:
        rest = memoryview(chunk)
        while rest:
            with _disk_errors(path):
                written = os.write(descriptor, rest)
            rest = rest[written:]
            size += written
    with _disk_errors(path):
        os.fchmod(descriptor, 0o400)
        os.fsync(descriptor)
    return size


def _publish(temporary: Path, path: Path, key: str) -> None:
    """Give a finished file its name, durably."""
    for _ in range(_LINK_ATTEMPTS):
        with suppress(FileExistsError):  # not exist_ok: it fails where the folder goes meanwhile
            path.parent.mkdir(mode=0o700)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise Conflict(key_taken(key)) from None
        except FileNotFoundError:  # a deletion took the empty folder away in between
            continue
        _sync_folder(path.parent)
        # Always: another writer may have made the folder and not have synced it yet.
        _sync_folder(path.parent.parent)
        return
    raise StoreUnavailable(f"the file or the folder of {key} vanished while it was written")


def _chunks(path: Path, key: str, start: int, stop: int | None) -> Generator[bytes, None, None]:
    """Give an empty chunk once the file is open, then the range."""
    with _disk_errors(path):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            path.parent.parent.stat()
            raise BlobMissing(key) from None
    with file:
        at, end = start, range_end(key, os.fstat(file.fileno()).st_size, start, stop)
        file.seek(start)
        yield b""
        while at < end:
            with _disk_errors(path):
                chunk = file.read(min(CHUNK_BYTES, end - at))
            if not chunk:
                raise IntegrityFailure(f"{key} ended at byte {at} while it was read up to {end}")
            at += len(chunk)
            yield chunk


def _listing(blobs: Path, prefix: str) -> Iterator[tuple[str, int]]:
    """Walk the two levels of folders, holding one entry of each."""
    with _disk_errors(blobs), os.scandir(blobs) as folders:
        for folder in folders:
            start = f"blobs/{folder.name}/"
            if start.startswith(prefix) or prefix.startswith(start):
                yield from _objects(Path(folder.path), start, prefix)


def _objects(folder: Path, start: str, prefix: str) -> Iterator[tuple[str, int]]:
    """Give the objects of one folder; what is deleted meanwhile is left out."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            key = start + entry.name
            if is_key(key) and key.startswith(prefix):
                with suppress(FileNotFoundError):
                    yield key, entry.stat().st_size


def _make_folder(path: Path) -> None:
    """Make a folder and those above it, durably."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk_errors(path: Path) -> Generator[None, None, None]:
    """Turn what the operating system says about a path into our errors."""
    try:
        yield
    except OSError as error:
        raise _translate(error, path) from error


def _translate(error: OSError, path: Path) -> DeltaregError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        return DiskFull(
            f"no room on the server's disk to write {path}: {reason}",
            fix="who runs the server has to make room there, or: deltareg gc run",
        )
    if error.errno in _WRONG_FOLDER:
        return StoreMisconfigured(
            f"the store's folder cannot be used at {path}: {reason}",
            fix="give the server's user a folder of its own, on a disk that knows hard links",
        )
    return StoreUnavailable(f"the disk failed at {path}: {reason}")


def _open(url: str, _: NoOptions) -> LocalStore:
    """Open the folder of a `file` URL."""
    parts = split_url(url)
    path = Path(unquote(parts.path))
    if parts.netloc not in {"", "localhost"} or not path.is_absolute() or "\0" in str(path):
        raise not_a_url(url, "a local folder")
    return LocalStore(path)


SCHEME = StoreScheme("file", "file:///absolute/folder", _open, NoOptions)
