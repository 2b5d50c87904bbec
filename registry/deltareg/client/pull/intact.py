"""Whether a folder holds a version's files: hashed once, then recognised by every file's stat."""

import hashlib
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Literal

from pydantic import BaseModel, ValidationError

from deltareg.client.cache.cache import Cache
from deltareg.client.disk.drafts import is_draft
from deltareg.client.trust.kept_signature import SIGNATURE
from deltareg.digest import Digest
from deltareg.identity.manifest import Manifest

Stats = dict[str, tuple[int, int, int, int]]
"""Size, mtime, inode and ctime of every file, by its path in the folder."""


class _Note(BaseModel):
    """The digest over a folder's files, and their state when it was computed."""

    form: Literal["deltareg.folder-note/1"] = "deltareg.folder-note/1"
    files: str
    stats: Stats


def holds(cache: Cache, folder: Path, manifest: Manifest) -> bool:
    """Whether a folder holds exactly these files with these digests.

    Files that were not touched since they were hashed or written are not read again.
    """
    stats = stats_of(folder)
    sizes = {file.path: file.size_bytes for file in manifest.files}
    if stats is None or {path: stat[0] for path, stat in stats.items()} != sizes:
        return False
    note = _read_note(cache, folder)
    if note == _note(manifest, stats):
        return True
    is_held = all(_is_file(folder / file.path, file.digest.hex) for file in manifest.files)
    if is_held:
        _remember(cache, folder, _note(manifest, stats))
    return is_held


def remember_held(cache: Cache, folder: Path, manifest: Manifest) -> None:
    """Record that a folder's files have just been written from a manifest, each checked."""
    stats = stats_of(folder)
    if stats is not None and stats.keys() == {file.path for file in manifest.files}:
        _remember(cache, folder, _note(manifest, stats))


def files_in(folder: Path) -> set[str]:
    """Return the relative paths of a folder's files."""
    return set(stats_of(folder) or ())


def holds_plainly(folder: Path, manifest: Manifest) -> bool:
    """Whether a folder filled by others holds these files, and nothing but regular files.

    A link could be another file tomorrow. The result is not remembered.
    """
    if not all(_is_own(path) for path in folder.rglob("*")):
        return False
    sizes = {path: stat[0] for path, stat in (stats_of(folder) or {}).items()}
    if sizes != {file.path: file.size_bytes for file in manifest.files}:
        return False
    return all(_is_file(folder / file.path, file.digest.hex) for file in manifest.files)


def find_intact(cache: Cache, kind: str, digest: Digest, manifest: Manifest) -> Path | None:
    """Return an intact folder of the cache; one that somebody wrote to is removed."""
    folder = cache.find_folder(kind, digest)
    if folder is None or holds(cache, folder, manifest):
        return folder
    cache.drop_folder(kind, digest)
    return None


def _note(manifest: Manifest, stats: Stats) -> _Note:
    hasher = hashlib.sha256()
    for file in manifest.files:
        hasher.update(f"{file.path}\0{file.digest}\0".encode())
    return _Note(files=hasher.hexdigest(), stats=stats)


def stats_of(folder: Path) -> Stats | None:
    """Return size, mtime, inode and ctime of every file; None if there is no folder.

    A signature lies beside the files that it signs, and is not one of them.
    """
    if not folder.is_dir():
        return None
    entries = [entry for entry in folder.iterdir() if not is_draft(entry)]
    paths = [path for entry in entries for path in (entry, *entry.rglob("*"))]
    stats: Stats = {}
    for path in paths:
        if path.is_file() and path != folder / SIGNATURE:
            stat = path.stat()
            file_stat = stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns
            stats[path.relative_to(folder).as_posix()] = file_stat
    return stats


def _is_own(path: Path) -> bool:
    stat = path.lstat()
    return S_ISDIR(stat.st_mode) or (S_ISREG(stat.st_mode) and stat.st_nlink == 1)


def _is_file(path: Path, sha256: str) -> bool:
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest() == sha256


def _read_note(cache: Cache, folder: Path) -> _Note | None:
    raw = cache.note(_name(folder))
    try:
        return None if raw is None else _Note.model_validate_json(raw)
    except ValidationError:  # of another release, or damaged: find it out again
        return None


def _remember(cache: Cache, folder: Path, note: _Note) -> None:
    cache.keep_note(_name(folder), note.model_dump_json().encode())


def _name(folder: Path) -> str:
    return hashlib.sha256(f"files of {folder.absolute()}".encode()).hexdigest()
