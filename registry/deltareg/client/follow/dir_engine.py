"""Engine `dir`: a link `current` to the folder of the version that is served.

::

    DIR/versions/ns--name--v3-<12 hex>/     whole, or absent
    DIR/current -> versions/ns--name--v3-<12 hex>

A program that has opened a file below `current` keeps it, whatever happens to the link.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from deltareg.client.disk.whole_folder import sync
from deltareg.client.follow.engine import ServingClaims, SettleOutcome
from deltareg.client.follow.release import FollowedChannel, Release
from deltareg.errors import InvalidInput
from deltareg.wire import EngineName

_VERSIONS, _CURRENT, _NEXT = "versions", "current", ".current.next"


class DirEngine:
    """Manages one folder for each channel."""

    def __init__(self, folders: Mapping[FollowedChannel, Path]) -> None:
        """Use a folder for each channel.

        Raises:
            InvalidInput: Something other than a link lies where the link belongs.
        """
        self.name: EngineName = "dir"
        self.starts = 0
        self._folders = dict(folders)
        for folder in self._folders.values():
            current = folder / _CURRENT
            if current.exists() and not current.is_symlink():
                raise InvalidInput(f"{current} is there and is no link", fix="move it away, or name another --dir")

    def look(self) -> None:
        """Do nothing: the link is read whenever it is needed."""

    def base(self) -> str:
        """Return nothing: it is unknown who reads the folder."""
        return ""

    def versions(self, followed: FollowedChannel) -> Path:
        """Return `DIR/versions`."""
        return self._folders[followed] / _VERSIONS

    def serves(self, followed: FollowedChannel, release: Release) -> bool:
        """Whether the link leads to the version."""
        return _target(self._folders[followed]) == f"{_VERSIONS}/{release.folder}"

    def serve(self, followed: FollowedChannel, release: Release, folder: Path) -> str:
        """Switch the link in one step."""
        home = self._folders[followed]
        draft = home / _NEXT
        draft.unlink(missing_ok=True)  # of a run that was killed; the lock says that it is gone
        draft.symlink_to(f"{_VERSIONS}/{folder.name}")
        draft.replace(home / _CURRENT)
        sync(home)
        return str(home / _CURRENT)

    def drop(self, versions: Path, folder: str) -> None:
        """Remove the link if it leads there."""
        if _target(versions.parent) == f"{_VERSIONS}/{folder}":
            (versions.parent / _CURRENT).unlink(missing_ok=True)

    def renew(self, versions: Path, folder: str) -> None:
        """Do nothing: a program that opens a file reads what is in it then."""

    def settle(self, claims: ServingClaims) -> SettleOutcome:
        """Do nothing: programs that read an old version keep its files."""
        return SettleOutcome()

    def holds(self, versions: Path) -> Collection[str]:
        """Return the folder that the link leads to."""
        target = _target(versions.parent)
        return [] if target is None else [target.removeprefix(f"{_VERSIONS}/")]

    def close(self) -> None:
        """Do nothing: nothing is open."""


def _target(home: Path) -> str | None:
    try:
        return str((home / _CURRENT).readlink())
    except OSError:
        return None
