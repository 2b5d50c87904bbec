"""The versions that a follower keeps: each whole in a folder of its own, or absent."""

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from deltareg.client.asking.resolving import fetch_manifest, resolve
from deltareg.client.context import Context
from deltareg.client.disk.drafts import is_draft, sweep_drafts
from deltareg.client.disk.whole_folder import replace_folder
from deltareg.client.follow.release import Release
from deltareg.client.pull import pull
from deltareg.client.pull.intact import holds
from deltareg.errors import Blocked, Conflict, IntegrityFailure, InvalidInput
from deltareg.identity.manifest import Manifest
from deltareg.refs import Ref

log = logging.getLogger(__name__)
GRACE_S = 60.0
"""How long a version stays after it was served, whatever there are of others.

Who has looked where `current` leads may still be opening its files, one after the other.
"""


@contextmanager
def kept_alone(folder: Path) -> Generator[None, None, None]:
    """Keep other followers out of a folder during the block; a killed process releases it.

    Raises:
        Conflict: Another process has the folder.
        InvalidInput: The folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".follower", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InvalidInput(
            f"{folder} cannot be written to: {error.strerror}", fix="name a folder that you may write to: --dir"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Conflict(
            f"another agent keeps {folder}", fix="stop it and name its channels here too, or name another folder: --dir"
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


def bring(context: Context, release: Release, versions: Path) -> tuple[Path, int]:
    """Make sure a version is in its folder, all bytes checked; return folder and fetched bytes.

    A version that is kept is only checked, without a server. A folder that somebody has written to
    is rewritten beside the old one and takes its place in one step.

    Raises:
        Blocked: The version is revoked.
        IntegrityFailure: The server has another version under this name.
    """
    folder = versions / release.folder
    if is_whole(context, release, folder):
        return folder, 0
    versions.mkdir(parents=True, exist_ok=True)
    sweep_drafts(versions)
    if not folder.exists():
        return folder, _pull(context, release, folder)
    log.warning("folder=%s holds something else and is made anew", folder)
    with replace_folder(folder) as draft:
        fetched_bytes = _pull(context, release, draft)
    return folder, fetched_bytes


def leave(folder: Path) -> None:
    """Record that a version has just ceased to be served."""
    with suppress(OSError):
        os.utime(folder)


def prune(versions: Path, *, keep: int, held: Collection[str], now: float | None = None) -> list[str]:
    """Remove versions beyond those that are held and the `keep` served last; return their names.

    Args:
        versions: The folder of versions.
        keep: How many to keep beside those that are held.
        held: Versions that stay whatever their age.
        now: The time, in seconds since the epoch.
    """
    moment = time.time() if now is None else now
    candidates = [path for path in _folders(versions) if path.name not in held]
    by_use = sorted(candidates, key=lambda path: path.stat().st_mtime, reverse=True)
    expired = [path for path in by_use[keep:] if moment - path.stat().st_mtime > GRACE_S]
    for path in expired:
        # Under another name first: what a kill leaves half deleted is not taken for a version.
        draft = path.with_name(f".gone-{path.name}")
        path.rename(draft)
        shutil.rmtree(draft, ignore_errors=True)
    for draft in versions.glob(".gone-*"):
        shutil.rmtree(draft, ignore_errors=True)
    return [path.name for path in expired]


def is_whole(context: Context, release: Release, folder: Path, *, asks: bool = True) -> bool:
    """Whether the folder holds the version, whole.

    If the version's manifest is not cached, the server is asked for it; with `asks` false, the
    folder's existence is enough then.
    """
    if not folder.exists():
        return False
    raw = context.cache.manifest(release.digest)
    if raw is not None:
        return holds(context.cache, folder, Manifest.decode(raw))
    if not asks:
        return True
    version = resolve(context, Ref.parse(release.ref), bare="newest")
    is_it = version.digest == str(release.digest)
    return is_it and holds(context.cache, folder, fetch_manifest(context, version))


def _pull(context: Context, release: Release, to: Path) -> int:
    report = pull.pull(context, Ref.parse(release.ref), to, is_temporary=True)
    if report.digest != str(release.digest):
        shutil.rmtree(to, ignore_errors=True)
        raise IntegrityFailure(
            f"{release.ref} is {report.digest}, and the channel says {release.digest}",
            fix="is --server the registry that the channel belongs to?",
        )
    if report.revocation is not None:
        raise Blocked(
            f"{release.ref} was revoked by {report.revocation.actor}: {report.revocation.reason}",
            fix="roll the channel back",
        )
    return report.fetched_bytes


def _folders(versions: Path) -> list[Path]:
    if not versions.is_dir():
        return []
    return [
        path for path in versions.iterdir() if path.is_dir() and not path.name.startswith(".") and not is_draft(path)
    ]
