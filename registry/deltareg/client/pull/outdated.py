"""Compares pulled folders with what their lines have now: what is behind, revoked, or gone."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deltareg.client.asking.resolving import resolve
from deltareg.client.config import LOCK_FILE
from deltareg.client.context import Context
from deltareg.client.pull.installed import noted_installed
from deltareg.client.pull.lock_file import read_lock
from deltareg.client.results.lock_reports import FolderStanding, OutdatedReport, Standing
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import Ref, parse_channel
from deltareg.wire import VersionDetail


def find_outdated(context: Context, paths: Sequence[Path], *, channel: str) -> OutdatedReport:
    """Compare folders with what a channel serves or, if it serves nothing, the newest version.

    Args:
        context: The client's surroundings.
        paths: Folders that versions were pulled to, and lock files; by default the lock file of the
            working directory, or else the folders in it.
        channel: The channel.

    Raises:
        InvalidInput: It is unknown what a named folder holds.
        NotFound: A path does not exist.
    """
    name = parse_channel(channel)
    folders = [pair for path in paths for pair in _list_held(context, path)] if paths else _here(context)
    return OutdatedReport(name, [_stands(context, folder, ref, name) for folder, ref in folders])


def _list_held(context: Context, path: Path) -> list[tuple[Path, Ref]]:
    if path.is_file() or path.name.endswith(".lock"):
        return _list_locked(path)
    if not path.is_dir():
        raise NotFound(f"there is no folder {path}", fix=f"deltareg pull NS/NAME@prod --to {path}")
    note = noted_installed(context.cache, path)
    if note is not None:
        return [(path, Ref.parse(note.ref))]
    below = _below(context, path)
    if not below:
        raise InvalidInput(
            f"nothing is known of what {path} holds",
            fix=f"name a folder that was pulled to, or: deltareg pull NS/NAME --to {path}",
        )
    return below


def _here(context: Context) -> list[tuple[Path, Ref]]:
    lock = Path(LOCK_FILE)
    if lock.is_file():
        return _list_locked(lock)
    note = noted_installed(context.cache, Path())
    return [(Path(), Ref.parse(note.ref))] if note is not None else _below(context, Path())


def _below(context: Context, path: Path) -> list[tuple[Path, Ref]]:
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    notes = ((folder, noted_installed(context.cache, folder)) for folder in folders)
    return [(folder, Ref.parse(note.ref)) for folder, note in notes if note is not None]


def _list_locked(path: Path) -> list[tuple[Path, Ref]]:
    return [(path.parent / each.folder, Ref.parse(each.ref)) for each in read_lock(path).deltas]


def _stands(context: Context, folder: Path, ref: Ref, channel: str) -> FolderStanding:
    version = _find(context, ref)
    channel_version = _find(context, Ref(ref.line, channel=channel))
    newest = _find(context, Ref(ref.line))
    if version is None or version.is_deleted:
        standing: Standing = "gone"
    elif version.is_revoked:
        standing = "revoked"
    elif version.proof == "corrupt":
        standing = "corrupt"
    else:
        standing = _beside(version, channel_version, newest)
    return FolderStanding(
        folder,
        str(ref),
        standing,
        served="" if channel_version is None else channel_version.ref,
        newest="" if newest is None else newest.ref,
        revocation=None if version is None else version.revocation,
        deprecation=None if version is None else version.deprecation,
    )


def _beside(held: VersionDetail, served: VersionDetail | None, newest: VersionDetail | None) -> Standing:
    if served is None:
        return "superseded" if newest is not None and newest.version > held.version else "current"
    if served.version == held.version:
        return "current"
    return "behind" if served.version > held.version else "ahead"


def _find(context: Context, ref: Ref) -> VersionDetail | None:
    with suppress(NotFound):
        return resolve(context, ref, bare="newest")
    return None
