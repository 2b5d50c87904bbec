"""The client's cache: content-addressed, safe for several processes and network disks, no locks.

::

    <cache dir>/
      blobs/sha256/ab/<64 hex>      packs, read-only, written under a temporary name and renamed
      manifests/<64 hex>            manifests by their own digest
      snapshots/<64 hex>/           pulled versions by manifest digest, whole or absent
      bases/<64 hex>/               bases by root, whole or absent
      digests/<64 hex>              tensor digests of local base folders, by path and file stat
      tmp/<uuid>                    one process's work in progress

Correctness never depends on a lock: a file under its final name is whole, because it got there by a
rename, and two processes that make the same thing make the same bytes.
"""

import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.placing import is_draft
from deltareg.digest import Digest
from deltareg.errors import DiskFull, IntegrityFailure

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DAY_S = 86_400
_KINDS = ("blobs", "snapshots", "bases")
_STALE_TMP_S = 2 * _DAY_S


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One thing in the cache.

    Attributes:
        kind: `blobs`, `snapshots` or `bases`.
        digest: What it is.
        size_bytes: Bytes on disk.
        last_used: Seconds since the epoch.
        path: Where it is.
    """

    kind: str
    digest: str
    size_bytes: int
    last_used: float
    path: Path


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What pruning removed, or would remove."""

    removed: int
    bytes: int
    dry_run: bool


class Cache:
    """The cache under one folder."""

    def __init__(self, root: Path) -> None:
        """Use a folder; it is made when something is first kept."""
        self.path = root

    def blob_path(self, digest: Digest) -> Path:
        """Where a pack lies, or would lie."""
        return self.path / "blobs" / "sha256" / digest.hex[:2] / digest.hex

    def folder_path(self, kind: str, digest: Digest) -> Path:
        """Where a snapshot or base lies, or would lie."""
        return self.path / kind / digest.hex

    def find_blob(self, digest: Digest) -> Path | None:
        """Give a pack that is here, and note that it is in use."""
        return self._touched(self.blob_path(digest))

    def find_folder(self, kind: str, digest: Digest) -> Path | None:
        """Give a snapshot or base that is here, and note that it is in use."""
        return self._touched(self.folder_path(kind, digest))

    def drop_folder(self, kind: str, digest: Digest) -> None:
        """Take a snapshot or base out, if it is there."""
        _remove(self.folder_path(kind, digest))

    def drop_damaged(self, digests: Iterable[Digest]) -> bool:
        """Hash some packs again and take those out that are damaged; tells if there were any."""
        found = [path for path in map(self.blob_path, digests) if _is_damaged(path)]
        for path in found:
            _remove(path)
        return bool(found)

    def keep_blob(self, digest: Digest, chunks: Iterable[bytes]) -> Path:
        """Write a pack and check it on the way.

        Raises:
            IntegrityFailure: The bytes are not what the digest says; nothing is kept.
            DiskFull: There is no room.
        """
        target = self.blob_path(digest)
        hasher = hashlib.sha256()
        with self.draft() as draft, out_of_space(self.path):
            with draft.open("xb") as file:
                for chunk in chunks:
                    hasher.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if hasher.hexdigest() != digest.hex:
                raise IntegrityFailure(
                    f"pack {digest.short} arrived as {hasher.hexdigest()[:12]}",
                    fix="pull again; if it happens again, ask for `deltareg fsck --read-data`",
                )
            draft.chmod(0o444)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(target)
        return target

    def manifest(self, digest: Digest) -> bytes | None:
        """Give a manifest that is here."""
        try:
            raw = (self.path / "manifests" / digest.hex).read_bytes()
        except FileNotFoundError:
            return None
        return raw if hashlib.sha256(raw).hexdigest() == digest.hex else None

    def keep_manifest(self, digest: Digest, raw: bytes) -> None:
        """Keep a manifest."""
        self._keep(self.path / "manifests" / digest.hex, raw)

    def note(self, name: str) -> bytes | None:
        """Give a note on local digests."""
        try:
            return (self.path / "digests" / name).read_bytes()
        except FileNotFoundError:
            return None

    def keep_note(self, name: str, raw: bytes) -> None:
        """Keep a note on local digests."""
        self._keep(self.path / "digests" / name, raw)

    @contextmanager
    def draft(self) -> Generator[Path, None, None]:
        """Give a fresh name to work under; what is still there at the end goes."""
        folder = self.path / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / str(uuid.uuid4())
        try:
            yield draft
        finally:
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)

    def entries(self) -> list[CacheEntry]:
        """List everything that pruning may remove, least recently used first."""
        found = [_entry(kind, path) for kind in _KINDS for path in self._things(kind)]
        here = [entry for entry in found if entry is not None]
        return sorted(here, key=lambda entry: entry.last_used)

    def prune(
        self,
        *,
        max_bytes: int | None = None,
        older_than_s: float | None = None,
        dry_run: bool = False,
        now: float | None = None,
        keep: Path | None = None,
    ) -> PruneReport:
        """Remove what was not used for so long, then the oldest until the rest fits.

        Args:
            max_bytes: How much may stay.
            older_than_s: How long something may lie unused, seconds.
            dry_run: Only say what would go.
            now: The time; the clock's by default.
            keep: What stays whatever happens, because somebody was just given it.
        """
        moment = time.time() if now is None else now
        entries = self.entries()
        total = sum(entry.size_bytes for entry in entries)
        removed = freed = 0
        for entry in entries:
            is_old = older_than_s is not None and moment - entry.last_used > older_than_s
            is_over = max_bytes is not None and total - freed > max_bytes
            if (is_old or is_over) and entry.path != keep:
                removed, freed = removed + 1, freed + entry.size_bytes
                if not dry_run:
                    _remove(entry.path)
        if not dry_run:
            self._sweep_drafts(moment)
        return PruneReport(removed, freed, dry_run)

    def verify(self, *, fix: bool = False) -> list[str]:
        """Hash every pack again and list those that are damaged; with `fix`, remove them."""
        bad: list[str] = []
        for path in self._things("blobs"):
            if _is_damaged(path):
                bad.append(f"sha256:{path.name}")
                if fix:
                    _remove(path)
        return bad

    def _things(self, kind: str) -> list[Path]:
        pattern = "sha256/*/*" if kind == "blobs" else "*"
        return [path for path in (self.path / kind).glob(pattern) if not is_draft(path)]

    def _keep(self, target: Path, raw: bytes) -> None:
        with self.draft() as draft, out_of_space(self.path):
            with draft.open("xb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(target)

    def _touched(self, path: Path) -> Path | None:
        try:
            os.utime(path, (time.time(), path.stat().st_mtime))
        except FileNotFoundError:
            return None
        except PermissionError:  # somebody else's cache: it can be read all the same
            return path
        return path

    def _sweep_drafts(self, now: float) -> None:
        folders = (path for kind in _KINDS for path in (self.path / kind).glob("*"))
        for draft in (*(self.path / "tmp").glob("*"), *filter(is_draft, folders)):
            try:
                if now - draft.stat().st_mtime > _STALE_TMP_S:
                    _remove(draft)
            except FileNotFoundError:  # its process has just finished with it
                continue


@contextmanager
def out_of_space(path: Path) -> Generator[None, None, None]:
    """Turn a full disk into an error that says which one.

    Raises:
        DiskFull: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            f"the disk of {path} is full", fix="free space, or: deltareg cache prune"
        ) from error


def _entry(kind: str, path: Path) -> CacheEntry | None:
    """Describe a thing; None when another process has just removed it."""
    try:
        return CacheEntry(kind, path.name, _size(path), path.stat().st_atime, path)
    except FileNotFoundError:
        return None


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())


def _is_damaged(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() != path.name
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
