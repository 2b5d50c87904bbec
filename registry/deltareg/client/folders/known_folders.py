"""Where the files of versions lie on this machine: folders that were pushed, pulled to, or cached.

A note under the manifest's digest lists folders, with the state of every tensor file when its bytes
were known to be the version's. A folder counts only as long as none of these files was touched, so
nothing has to be hashed again.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ValidationError

from deltareg.client.cache.cache import Cache
from deltareg.client.disk.kept_files import file_state
from deltareg.digest import Digest
from deltareg.errors import DeltaregError
from deltareg.identity.manifest import Manifest

if TYPE_CHECKING:
    from deltareg.client.folders.folder import Folder

_PLACES_MAX = 4
States = dict[str, list[int]]


class _Place(BaseModel):
    """A folder, and the state of its tensor files at the time."""

    path: str
    files: States


class _Note(BaseModel):
    """The folders that hold one version, the latest first."""

    form: Literal["deltareg.version-note/1"] = "deltareg.version-note/1"
    places: list[_Place]


def file_states(folder: Path, manifest: Manifest) -> States:
    """Return the state of every tensor file of a version in a folder.

    Raises:
        OSError: A file is missing.
    """
    files = [file.path for file in manifest.files if file.is_tensors]
    return {path: list(file_state((folder / path).lstat())) for path in files}


def remember_version(cache: Cache, digest: Digest, folder: Path, files: States) -> None:
    """Record that a folder holds a version.

    Args:
        cache: The cache that keeps the notes.
        digest: The manifest's digest.
        folder: The folder.
        files: The state of its files when their bytes were known to be the version's.
    """
    here = _Place(path=str(folder.absolute()), files=files)

    def add(before: bytes | None) -> bytes:
        others = [place for place in _read_places(before) if place.path != here.path]
        return _Note(places=[here, *others][:_PLACES_MAX]).model_dump_json().encode()

    with suppress(DeltaregError, OSError):  # a full disk: the next push does without it
        cache.change_note(_name(digest), add)


def remember_pushed(cache: Cache, digest: Digest, manifest: bytes, folder: "Folder") -> None:
    """Record that an opened folder was pushed as a version, and what that is.

    Args:
        cache: The cache that keeps the notes.
        digest: The manifest's digest.
        manifest: The manifest.
        folder: The folder.
    """
    remember_version(cache, digest, folder.path, folder.states())
    with suppress(DeltaregError, OSError):
        cache.keep_manifest(digest, manifest)


def find_version_folder(cache: Cache, digest: Digest, manifest: Manifest) -> Path | None:
    """Return a folder that holds a version's files, untouched since; None if there is none."""
    for place in _places(cache, digest):
        path = Path(place.path)
        with suppress(OSError):
            if file_states(path, manifest) == place.files:
                return path
    return None


def is_remembered(cache: Cache, digest: Digest) -> bool:
    """Whether there is a note of folders that held a version."""
    return cache.note(_name(digest)) is not None


def _places(cache: Cache, digest: Digest) -> Iterable[_Place]:
    return _read_places(cache.note(_name(digest)))


def _read_places(raw: bytes | None) -> Iterable[_Place]:
    try:
        return _Note.model_validate_json(raw or b'{"places": []}').places
    except ValidationError:  # damaged, or of another release: as good as none
        return []


def _name(digest: Digest) -> str:
    return f"version-{digest.hex}"
