"""Which version a folder holds: noted when it was written, or else found by its content."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from deltareg.client.asking.lines import list_versions
from deltareg.client.asking.resolving import fetch_manifest
from deltareg.client.cache.cache import Cache
from deltareg.client.context import Context
from deltareg.client.paging import walk
from deltareg.client.pull.intact import files_in, holds
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, Ref
from deltareg.wire import VersionInfo

_PAGE = 50
_NEXT = "next version"


class InstalledVersion(BaseModel):
    """What a folder was made from.

    Attributes:
        ref: The version, by its number.
        digest: Its manifest's digest.
        files: The paths of its files; other files must not be replaced.
        root: The fingerprint of the model that base and delta were folded into; else empty.
        rest: For a folded model, the digest over its files that hold no tensors.
        base: The identity of the base that it was folded into; empty in notes of older releases.
        include: Patterns of the files that were pulled; empty for all.
    """

    form: Literal["deltareg.installed/1"] = "deltareg.installed/1"
    ref: str
    digest: str
    files: list[str]
    root: str = ""
    rest: str = ""
    base: str = ""
    include: list[str] = []

    def is_of(self, version: VersionInfo) -> bool:
        """Whether it is this version; if folded, the same delta on another base is another one."""
        if self.digest != version.digest:
            return False
        is_told = bool(self.base) or self.ref == version.ref
        return not self.root or (is_told and self.base in {"", version.base.identity})


def remember_installed(
    cache: Cache, folder: Path, version: VersionInfo, *, root: str = "", include: Sequence[str] = ()
) -> None:
    """Record what a folder was just made from."""
    note = _note(folder, version, root, include)
    cache.keep_note(_name(folder), note.model_dump_json().encode())


def remember_next(
    cache: Cache, folder: Path, draft: Path, version: VersionInfo, *, root: str = "", include: Sequence[str] = ()
) -> None:
    """Record what a folder is about to hold: a kill may come between that and `remember_installed`."""
    note = _note(draft, version, root, include)
    cache.keep_note(_name(folder, _NEXT), note.model_dump_json().encode())


def noted_next(cache: Cache, folder: Path) -> InstalledVersion | None:
    """Return what a folder was about to hold when it was last replaced, or None."""
    return _read(cache.note(_name(folder, _NEXT)))


def _note(folder: Path, version: VersionInfo, root: str, include: Sequence[str]) -> InstalledVersion:
    files = sorted(files_in(folder))
    rest = _rest(folder, files) if root else ""
    base = version.base.identity if root else ""
    return InstalledVersion(
        ref=version.ref, digest=version.digest, files=files, root=root, rest=rest, base=base, include=list(include)
    )


def noted_installed(cache: Cache, folder: Path) -> InstalledVersion | None:
    """Return the note of a folder, or None."""
    return _read(cache.note(_name(folder)))


def _read(raw: bytes | None) -> InstalledVersion | None:
    try:
        return InstalledVersion.model_validate_json(raw or b"")
    except ValidationError:  # none, of another release, or damaged
        return None


def noted_fold(cache: Cache, folder: Path) -> InstalledVersion | None:
    """Return the note of a folder that a version was folded into.

    Also None if a file was added or removed since, or one without tensors has changed; tensors are
    not read.
    """
    note = noted_installed(cache, folder)
    files = sorted(files_in(folder))
    if note is None or not note.rest or files != note.files:
        return None
    return note if _rest(folder, files) == note.rest else None


def find_installed(context: Context, folder: Path, line: LineRef) -> InstalledVersion:
    """Find the version of a line that a folder holds, trying the newest first.

    Raises:
        InvalidInput: It holds none that still exists.
    """
    for version in walk(lambda cursor: list_versions(context, line, cursor=cursor, limit=_PAGE)):
        manifest = fetch_manifest(context, version)
        if holds(context.cache, folder, manifest):
            files = [file.path for file in manifest.files]
            return InstalledVersion(ref=version.ref, digest=version.digest, files=files)
    raise InvalidInput(
        f"{folder} holds no version of {line} as it was pushed",
        fix=f"name an empty folder: deltareg pull {line} --to DIR",
    )


def line_of(installed: InstalledVersion) -> LineRef:
    """Return the line of the version in a folder."""
    return Ref.parse(installed.ref).line


def _rest(folder: Path, files: Sequence[str]) -> str:
    """Return the digest over a folder's files without tensors, names included."""
    hasher = hashlib.sha256()
    for name in files:
        if not name.endswith(".safetensors"):
            with (folder / name).open("rb") as data:
                digest = hashlib.file_digest(data, "sha256").hexdigest()
            hasher.update(f"{name}\0{digest}\0".encode())
    return hasher.hexdigest()


def _name(folder: Path, what: str = "version") -> str:
    return hashlib.sha256(f"{what} in {folder.absolute()}".encode()).hexdigest()
