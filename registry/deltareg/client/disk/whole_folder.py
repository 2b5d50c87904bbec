"""A folder of results: filled under another name, and put in place when it is whole."""

import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from deltareg.client.disk.drafts import draft_name, is_draft, sweep_drafts
from deltareg.client.disk.kept_files import out_of_space
from deltareg.client.disk.swap import exchange
from deltareg.errors import Conflict, InvalidInput


@contextmanager
def place_folder(target: Path) -> Generator[Path, None, None]:
    """Yield a fresh folder to fill; when the block ends well, its content is at the target.

    A target that does not exist appears whole, by one rename. One that exists and is empty stays
    the folder that it is (the working directory, a mounted volume) and is filled entry by entry.

    Raises:
        InvalidInput: Nothing can be written there.
        Conflict: Something else was put there meanwhile.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100  # links on the way stay as they are
    is_there = target.is_dir()
    parent = target if is_there else target.parent
    draft = _make_draft(parent)
    try:
        yield draft
        _sync_all(draft)
        if is_there:
            _fill(target, draft)
        else:
            _rename(draft, target)
        sync(parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def replace_folder(target: Path) -> Generator[Path, None, None]:
    """Yield a path to fill; when the block ends well, it takes the target's place.

    Both names are exchanged in one step where the system can, so that readers always see the old
    folder or the new one, whole, even after a kill.

    Raises:
        Conflict: The target cannot be exchanged: it is a mount or a link.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100  # links on the way stay as they are
    sweep_drafts(target.parent)
    draft = draft_name(target.parent)
    try:
        yield draft
        try:
            exchange(draft, target)
        except OSError as error:
            raise Conflict(
                f"{target} cannot be replaced: {error.strerror}", fix="name a folder that is neither a mount nor a link"
            ) from error
        sync(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def is_free(target: Path) -> bool:
    """Whether a target does not exist, or holds nothing but the drafts of a killed run."""
    if not target.exists():
        return not target.is_symlink()
    return target.is_dir() and all(is_draft(entry) for entry in target.iterdir())


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_draft(parent: Path) -> Path:
    draft = draft_name(parent)
    try:
        with out_of_space(parent):
            parent.mkdir(parents=True, exist_ok=True)
            sweep_drafts(parent)
            draft.mkdir()
    except OSError as error:
        raise InvalidInput(
            f"{parent} cannot be written to: {error.strerror}", fix="name a folder that you may write to"
        ) from error
    return draft


def _fill(target: Path, draft: Path) -> None:
    for entry in sorted(draft.iterdir()):
        if (target / entry.name).exists():
            raise _make_conflict(target)
        entry.rename(target / entry.name)


def _rename(draft: Path, target: Path) -> None:
    try:
        draft.rename(target)
    except OSError as error:
        if not target.exists():
            raise
        raise _make_conflict(target) from error


def _make_conflict(target: Path) -> Conflict:
    return Conflict(f"{target} was filled with something else meanwhile", fix="name another folder")


def _sync_all(folder: Path) -> None:
    """Make a finished folder durable before it gets its name."""
    for path in _files(folder):
        sync(path)


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.rglob("*") if path.is_file())
    yield from (path for path in folder.rglob("*") if path.is_dir())
    yield folder
