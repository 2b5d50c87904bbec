"""Results of locking, syncing and looking for newer versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deltareg.wire import SCHEMA_VERSION, Deprecation, Revocation
from deltareg.wire.tables import rows_html

Standing = Literal["current", "ahead", "behind", "superseded", "revoked", "corrupt", "gone"]
Step = Literal["kept", "fetched", "replaced", "drift"]


@dataclass(frozen=True, slots=True)
class FolderStanding:
    """A folder compared with what its line has now.

    Attributes:
        folder: The folder.
        ref: The version that it holds.
        standing: `current`, `ahead` of the channel, `behind` it, `superseded` by a newer version if
            the channel serves none, `revoked`, `corrupt`, or `gone` from the registry.
        served: What the channel serves; empty if it serves nothing.
        newest: The newest version of the line; empty if the line is gone.
        revocation: The revocation of the version in the folder.
        deprecation: The deprecation of the version in the folder, or of its line.
    """

    folder: Path
    ref: str
    standing: Standing
    served: str = ""
    newest: str = ""
    revocation: Revocation | None = None
    deprecation: Deprecation | None = None

    @property
    def is_fine(self) -> bool:
        """Whether there is nothing to do about the folder."""
        return self.standing in {"current", "ahead"}

    def to_dict(self) -> dict[str, object]:
        """Return an item of `deltareg outdated --json`."""
        revocation = self.revocation.model_dump() if self.revocation else None
        return {
            "folder": str(self.folder),
            "ref": self.ref,
            "standing": self.standing,
            "served": self.served,
            "newest": self.newest,
            "revocation": revocation,
            "deprecation": self.deprecation.model_dump() if self.deprecation else None,
        }


@dataclass(frozen=True, slots=True)
class OutdatedReport:
    """Folders compared with what their lines have now.

    Attributes:
        channel: The channel that they were compared with.
        folders: The folders, in the order in which they were given.
    """

    channel: str
    folders: Sequence[FolderStanding]

    @property
    def is_fine(self) -> bool:
        """Whether there is nothing to do about any folder."""
        return all(each.is_fine for each in self.folders)

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg outdated --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "channel": self.channel,
            "outdated": not self.is_fine,
            "items": [each.to_dict() for each in self.folders],
        }

    def _repr_html_(self) -> str:
        return rows_html([each.to_dict() for each in self.folders])


@dataclass(frozen=True, slots=True)
class LockedFolder:
    """A folder of a lock file, and what it was locked to before; empty if it is new."""

    folder: str
    asked: str
    ref: str
    digest: str
    was: str

    def to_dict(self) -> dict[str, object]:
        """Return an item of `deltareg lock --json`."""
        return {"folder": self.folder, "asked": self.asked, "ref": self.ref, "digest": self.digest, "was": self.was}


@dataclass(frozen=True, slots=True)
class LockReport:
    """What a lock file says now.

    Attributes:
        path: The file.
        is_changed: Whether its content changed.
        folders: The locked folders.
    """

    path: Path
    is_changed: bool
    folders: Sequence[LockedFolder]

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg lock --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "path": str(self.path),
            "changed": self.is_changed,
            "items": [each.to_dict() for each in self.folders],
        }


@dataclass(frozen=True, slots=True)
class SyncedFolder:
    """What was done about a folder, or would be, and why."""

    folder: Path
    ref: str
    step: Step
    why: str = ""
    fetched_bytes: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return an item of `deltareg sync --json`."""
        return {
            "folder": str(self.folder),
            "ref": self.ref,
            "step": self.step,
            "why": self.why,
            "fetched_bytes": self.fetched_bytes,
        }


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What was done about the folders of a lock file.

    Attributes:
        is_plan: Whether this is only a plan.
        folders: What was done about each folder.
    """

    is_plan: bool
    folders: Sequence[SyncedFolder]

    @property
    def is_drifted(self) -> bool:
        """Whether a folder differs from the lock and was not brought in line."""
        steps = {each.step for each in self.folders}
        return "drift" in steps or (self.is_plan and steps != {"kept"} and bool(steps))

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg sync --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "is_plan": self.is_plan,
            "drift": self.is_drifted,
            "items": [each.to_dict() for each in self.folders],
        }
