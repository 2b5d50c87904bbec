"""Lists and prunes what the cache holds: what is too old, over the limit, damaged or unfinished."""

import hashlib
import time
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.cache.in_use import not_in_use
from deltareg.client.cache.parts import is_part_damaged, parts_in
from deltareg.client.cache.pins import Pins
from deltareg.client.disk.drafts import STALE_S, is_draft
from deltareg.client.disk.kept_files import remove

_PATTERNS = {"blobs": "sha256/*/*", "parts": "sha256/*/*", "snapshots": "*", "bases": "*"}
_HELD = "bases"


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One entry of the cache.

    Attributes:
        kind: `blobs`, `parts` (of one pack), `snapshots` or `bases`.
        digest: Its digest, without the algorithm.
        size_bytes: Bytes on disk.
        last_used: When it was last used, in seconds since the epoch.
        path: Where it is.
        is_pinned: Whether it stays whatever the cache's size.
    """

    kind: str
    digest: str
    size_bytes: int
    last_used: float
    path: Path
    is_pinned: bool = False


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What pruning removed, or would remove."""

    removed: int
    bytes: int
    dry_run: bool


def entries(root: Path) -> list[CacheEntry]:
    """List everything that pruning may remove, least recently used first."""
    pinned = Pins(root).list_digests()
    items = [_entry(kind, path, pinned) for kind in _PATTERNS for path in _things(root, kind)]
    here = [entry for entry in items if entry is not None]
    return sorted(here, key=lambda entry: entry.last_used)


def prune(
    root: Path,
    *,
    max_bytes: int | None = None,
    older_than_s: float | None = None,
    dry_run: bool = False,
    now: float | None = None,
    keep: Collection[Path] = (),
) -> PruneReport:
    """Remove entries that were not used for some time, then the oldest until the rest fits.

    Pinned entries stay, and so do bases that somebody holds; both count towards the size.

    Args:
        root: The cache's folder.
        max_bytes: How many bytes may stay.
        older_than_s: How long an entry may lie unused, in seconds.
        dry_run: Remove nothing; only report what would go.
        now: The time; the clock's by default.
        keep: What must stay, because a caller has just been handed it.
    """
    moment = time.time() if now is None else now
    all_entries = entries(root)
    total = sum(entry.size_bytes for entry in all_entries)
    removed = freed = 0
    for entry in all_entries:
        is_old = older_than_s is not None and moment - entry.last_used > older_than_s
        is_over = max_bytes is not None and total - freed > max_bytes
        is_kept = entry.is_pinned or entry.path in keep
        if (is_old or is_over) and not is_kept and _goes(root, entry, dry_run=dry_run):
            removed, freed = removed + 1, freed + entry.size_bytes
    if not dry_run:
        _sweep_drafts(root, moment)
    return PruneReport(removed, freed, dry_run)


def evict(root: Path, entry: CacheEntry, *, dry_run: bool = False) -> bool:
    """Remove one entry, unless it is a base that somebody holds; return whether it goes.

    Raises:
        OSError: The entry cannot be removed, or it is unknown whether somebody holds it.
    """
    try:
        with not_in_use(root, entry.digest) if entry.kind == _HELD else nullcontext():
            if not dry_run:
                remove(entry.path)
    except BlockingIOError:
        return False
    return True


def verify(root: Path, *, fix: bool = False) -> list[str]:
    """Hash every pack and part again and list the damaged ones; with `fix`, remove them."""
    bad: list[str] = []
    for name, path in _find_damaged(root):
        bad.append(name)
        if fix:
            remove(path)
    return bad


def is_damaged(path: Path) -> bool:
    """Whether a pack's bytes differ from what its name says."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() != path.name
    except FileNotFoundError:
        return False


def _goes(root: Path, entry: CacheEntry, *, dry_run: bool) -> bool:
    try:
        return evict(root, entry, dry_run=dry_run)
    except OSError:  # a disk without locks, where nobody holds anything
        if not dry_run:
            remove(entry.path)
        return True


def _find_damaged(root: Path) -> Iterator[tuple[str, Path]]:
    for path in filter(is_damaged, _things(root, "blobs")):
        yield f"sha256:{path.name}", path
    for folder in _things(root, "parts"):
        for part in parts_in(folder):
            if is_part_damaged(part.path):
                yield f"sha256:{folder.name}#{part.span.begin}-{part.span.end}", part.path


def _things(root: Path, kind: str) -> list[Path]:
    return [path for path in (root / kind).glob(_PATTERNS[kind]) if not is_draft(path)]


def _sweep_drafts(root: Path, now: float) -> None:
    folders = (path for kind in _PATTERNS for path in (root / kind).glob("*"))
    for draft in (*(root / "tmp").glob("*"), *filter(is_draft, folders)):
        try:
            if now - draft.stat().st_mtime > STALE_S:
                remove(draft)
        except FileNotFoundError:  # its process has just finished with it
            continue


def _entry(kind: str, path: Path, pinned: Collection[str]) -> CacheEntry | None:
    """Describe an entry; None if another process has just removed it."""
    try:
        last_used = path.stat().st_mtime
        return CacheEntry(kind, path.name, _size(path), last_used, path, path.name in pinned)
    except FileNotFoundError:
        return None


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
