"""The folders of versions: filled in threads, and checked before an engine is asked anything.

An engine may read the folder of a loaded version again at any time, and may crash for all its
clients if it is gone. So a folder that was deleted or written to is rewritten as soon as that is
noticed, and a version whose folder cannot be rewritten is no longer served.
"""

import logging
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from deltareg.client.asking.resolving import resolve
from deltareg.client.context import Context
from deltareg.client.follow.engine import ServingEngine
from deltareg.client.follow.release import Release, read_folder_name
from deltareg.client.follow.served_base import VersionBase, base_of
from deltareg.client.follow.version_folders import bring, is_whole
from deltareg.client.pull.intact import Stats, stats_of
from deltareg.digest import Digest
from deltareg.errors import DeltaregError

log = logging.getLogger(__name__)


class PendingVersion:
    """A version on its way into its folder; everything else goes on meanwhile.

    Attributes:
        fetched_bytes: How many bytes were transferred, once it is over.
        base: The base that the version is for, once it is over.
        error: Why it failed; None if it did not.
        is_over: Whether it has ended, well or not.
    """

    def __init__(self, work: Callable[[], tuple[int, VersionBase]], on_end: Callable[[], None]) -> None:
        """Start the work in a thread; `on_end` is called there at its end."""
        self._work, self._on_end = work, on_end
        self.fetched_bytes = 0
        self.base: VersionBase | None = None
        self.error: DeltaregError | OSError | RuntimeError | None = None
        self.is_over = False
        threading.Thread(target=self._run, name="bring", daemon=True).start()

    def _run(self) -> None:
        try:
            self.fetched_bytes, self.base = self._work()
        except (DeltaregError, OSError, RuntimeError) as error:  # a closed client is the last
            self.error = error
        self.is_over = True
        self._on_end()


class VersionShelf:
    """Keeps the folders of one engine's versions whole."""

    def __init__(self, context: Context, engine: ServingEngine, on_change: Callable[[], None]) -> None:
        """Prepare; nothing is checked yet.

        Args:
            context: The client's surroundings.
            engine: The engine that serves from the folders.
            on_change: Called, in another thread, when a folder has been filled.
        """
        self._context, self._engine, self._on_change = context, engine, on_change
        self._releases: dict[str, Release] = {}
        self._making: dict[Path, PendingVersion] = {}
        self._whole: dict[Path, Stats] = {}

    def bring(self, release: Release, versions: Path) -> PendingVersion:
        """Bring a version into its folder; one that is on its way is not brought twice."""
        self._releases[release.folder] = release
        return self._begin(versions, release.folder)

    def mend(self, versions: Path) -> None:
        """Check every folder that the engine holds, and have damaged ones rewritten."""
        folders = sorted(self._engine.holds(versions))
        self._end(versions, folders)
        for name in folders:
            folder = versions / name
            if folder in self._making or not self._is_ours(name) or self._is_whole(folder):
                continue
            problem = "holds something else" if folder.exists() else "is gone"
            log.warning("folder=%s %s and is made anew", folder, problem)
            if folder.exists():
                self._engine.renew(versions, name)
            self._begin(versions, name)

    def _begin(self, versions: Path, name: str) -> PendingVersion:
        folder = versions / name
        making = self._making.get(folder)
        if making is None or making.is_over:
            making = PendingVersion(lambda: self._make(versions, name), self._on_change)
            self._making[folder] = making
        return making

    def _make(self, versions: Path, name: str) -> tuple[int, VersionBase]:
        release = self._release(name)
        _, fetched_bytes = bring(self._context, release, versions)
        return fetched_bytes, base_of(self._context, release)

    def _end(self, versions: Path, held: Collection[str]) -> None:
        """Forget what is over; stop serving versions whose folder could not be rewritten."""
        over = {folder: making for folder, making in self._making.items() if making.is_over}
        for folder, making in over.items():
            if folder.parent != versions:
                continue
            del self._making[folder]
            if making.error is None or folder.name not in held or self._is_whole(folder):
                continue
            error = making.error
            message = error.message if isinstance(error, DeltaregError) else str(error)
            log.warning("folder=%s is not served any more: %s", folder, message)
            self._engine.drop(versions, folder.name)

    def _is_ours(self, name: str) -> bool:
        return name in self._releases or read_folder_name(name) is not None

    def _is_whole(self, folder: Path) -> bool:
        """Whether a folder is unchanged; for an unknown version, whether it exists.

        A folder that was not touched since it was found whole is not read again.
        """
        try:
            stats = stats_of(folder)
            if stats is None:
                return False
            if stats == self._whole.get(folder):
                return True
            release = self._releases.get(folder.name)
            if release is None:
                return True
            if not is_whole(self._context, release, folder, asks=False):
                return False
        except OSError:  # something went while it was looked at
            return False
        self._whole[folder] = stats
        return True

    def _release(self, name: str) -> Release:
        """Give the version that a folder is named after; the registry is asked for its digest."""
        known = self._releases.get(name)
        if known is not None:
            return known
        ref = read_folder_name(name)
        if ref is None:
            raise AssertionError(f"unreachable: {name} is none of ours")
        version = resolve(self._context, ref, bare="newest")
        found = Release(ref.line, version.version, Digest.parse(version.digest))
        self._releases[found.folder] = found
        return found
