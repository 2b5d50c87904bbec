"""Folders of versions that several engines on one machine share, in bounded space.

::

    DIR/versions/ns--name--v3-<12 hex>/     whole, or absent
    DIR/locks/ns--name--v3-<12 hex>         locked by every process whose engine may read the folder
    DIR/locks/….making                      locked while the folder is made

A lock ends with its process, so what a killed engine held is free again. An engine may crash for
all its clients if a folder that it has loaded is gone, so no held folder is removed.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.context import Context
from deltareg.client.disk.drafts import is_draft
from deltareg.client.follow.release import Release
from deltareg.client.follow.version_folders import bring
from deltareg.errors import Conflict, InvalidInput

_PATIENCE_S, _PAUSE_S = 60.0, 0.05


@dataclass(frozen=True, slots=True)
class FolderHold:
    """A hold on a folder, which stays until it is let go."""

    folder: Path
    _descriptor: int

    def let_go(self) -> None:
        """Release the hold; call it once."""
        os.close(self._descriptor)


class SharedFolders:
    """The shared folders below one directory."""

    def __init__(self, home: Path) -> None:
        """Use a directory; it is created when something is first kept.

        Raises:
            InvalidInput: An agent manages the directory, and removes what it does not know.
        """
        if (home / ".follower").exists():
            raise InvalidInput(f"{home} is kept by an agent", fix="name a folder of its own: DELTAREG_VLLM_DIR")
        self.versions, self._locks = home.absolute() / "versions", home.absolute() / "locks"

    def hold(self, context: Context, release: Release) -> tuple[FolderHold, int]:
        """Hold a version in its folder, pulling it first if needed; return the transferred bytes.

        Raises:
            InvalidInput: The directory cannot be written to.
            DeltaregError: The version cannot be pulled.
        """
        hold = self._take(release.folder)
        try:
            return hold, self.make(context, release)
        except BaseException:
            hold.let_go()
            raise

    def make(self, context: Context, release: Release) -> int:
        """Make sure that a held version is in its folder; of several processes one writes it."""
        with self._hold_lock(f"{release.folder}.making", fcntl.LOCK_EX):
            return bring(context, release, self.versions)[1]

    def prune(self, max_bytes: int) -> Collection[str]:
        """Remove folders without holds, longest unused first, until the rest fits; return them."""
        sizes = self.sizes()
        over = sum(sizes.values()) - max_bytes
        removed: list[str] = []
        for name in sorted(sizes, key=self._last_used):
            if over <= 0:
                break
            if self._is_taken_away(name):
                over -= sizes[name]
                removed.append(name)
        for draft in self.versions.glob(".gone-*"):
            shutil.rmtree(draft, ignore_errors=True)
        return removed

    def sizes(self) -> dict[str, int]:
        """Return the size of each folder in bytes, by name."""
        if not self.versions.is_dir():
            return {}
        folders = [
            path
            for path in self.versions.iterdir()
            if path.is_dir() and not path.name.startswith(".") and not is_draft(path)
        ]
        return {path.name: _size(path) for path in folders}

    def _take(self, name: str) -> FolderHold:
        """Hold a folder; wait if it is just being removed."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            descriptor = self._open(name)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                if time.monotonic() > deadline:
                    raise Conflict(f"{self.versions / name} is being taken away", fix="ask again") from None
                time.sleep(_PAUSE_S)
            else:
                with suppress(OSError):
                    os.utime(self.versions / name)
                return FolderHold(self.versions / name, descriptor)

    def _is_taken_away(self, name: str) -> bool:
        try:
            with self._hold_lock(name, fcntl.LOCK_EX | fcntl.LOCK_NB):
                # Under another name first: what a kill leaves half deleted is not taken for whole.
                trash = self.versions / f".gone-{name}"
                shutil.rmtree(trash, ignore_errors=True)
                (self.versions / name).rename(trash)
                shutil.rmtree(trash, ignore_errors=True)
        except (BlockingIOError, FileNotFoundError):
            return False
        return True

    @contextmanager
    def _hold_lock(self, name: str, mode: int) -> Generator[None, None, None]:
        descriptor = self._open(name)
        try:
            fcntl.flock(descriptor, mode)
            yield
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int:
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
            return os.open(self._locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise InvalidInput(
                f"{self._locks} cannot be written to: {error.strerror}",
                fix="name a folder that you may write to: DELTAREG_VLLM_DIR",
            ) from error

    def _last_used(self, name: str) -> float:
        try:
            return (self.versions / name).stat().st_mtime
        except OSError:
            return 0.0


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # another process has just taken it away
            total += path.stat().st_size
    return total
