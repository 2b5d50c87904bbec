"""Folders that clients of the Hugging Face Hub left on this machine: its cache, or a download.

In the cache, a snapshot consists of links to blobs, and push accepts no links; in a download, there
are notes beside the files. Both tell their repository and revision.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from deltareg.errors import NotFound, Problem, Refused
from deltareg.integrations.imported import ImportedFolder, bring

_NOTES = Path(".cache", "huggingface", "download")
_KEPT = "models--"
_COMMIT_CHARACTERS = 40


@contextmanager
def hf_folder(place: Path) -> Generator[ImportedFolder, None, None]:
    """Yield the files of a snapshot without links, until the block ends.

    Args:
        place: A snapshot, a repository of the cache (`models--ORG--NAME`) with one, or a download.

    Raises:
        NotFound: There is no snapshot, or it is unclear which one is meant.
        Refused: A link leads out of the repository.
    """
    snapshot = _snapshot(place.expanduser().absolute())
    repository = next((each for each in snapshot.parents if each.name.startswith(_KEPT)), None)
    source = _source(snapshot, repository)
    if repository is None:  # its files are files, or a push says which are not
        yield ImportedFolder(snapshot, source)
        return
    room = repository if os.access(repository, os.W_OK) else None  # on the same disk no file is copied
    with TemporaryDirectory(prefix=".deltareg-", dir=room) as name:
        folder = Path(name) / snapshot.name
        for path in sorted(_files(snapshot)):
            real, inside = path.resolve(), path.relative_to(snapshot)
            if not real.is_relative_to(repository.resolve()):
                message = f"{inside.as_posix()} is a link that leads out of {repository}"
                raise Refused([Problem("link", message, fix="replace it by the file itself")])
            bring(real, folder / inside)
        yield ImportedFolder(folder, source)


def _snapshot(place: Path) -> Path:
    if not place.is_dir():
        raise NotFound(f"there is no folder {place}", fix="name a snapshot of the hub's cache")
    if not place.name.startswith(_KEPT):
        return place
    snapshots = sorted(each for each in place.glob("snapshots/*") if each.is_dir())
    main = place / "refs" / "main"
    if main.is_file():
        main_snapshot = place / "snapshots" / main.read_text("utf-8", "replace").strip()
        snapshots = [main_snapshot] if main_snapshot in snapshots else snapshots
    if len(snapshots) != 1:
        have = ", ".join(each.name for each in snapshots) or "none"
        raise NotFound(f"{place.name} has several snapshots, or none: {have}", fix="name one")
    return snapshots[0]


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files that are neither hidden nor in a hidden folder."""
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _files(entry)
        elif entry.is_file():
            yield entry


def _source(snapshot: Path, kept: Path | None) -> str:
    """Return the repository and revision, as far as the folder tells."""
    if kept is not None:
        name = kept.name.removeprefix(_KEPT).replace("--", "/", 1)
        return f"hf://{name}@{snapshot.name}"
    for note in sorted((snapshot / _NOTES).rglob("*.metadata")):
        commit = note.read_text("utf-8", "replace").partition("\n")[0].strip()
        if len(commit) == _COMMIT_CHARACTERS and commit.isalnum():
            return f"hf-folder:{snapshot.name}@{commit}"
    return f"hf-folder:{snapshot.name}"
