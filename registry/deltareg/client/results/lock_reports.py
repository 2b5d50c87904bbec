"""What locking, syncing and looking for newer versions give back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deltareg.wire import SCHEMA_VERSION, Revocation
from deltareg.wire.tables import rows_html

Standing = Literal["current", "ahead", "behind", "superseded", "revoked", "corrupt", "gone"]
Step = Literal["kept", "fetched", "replaced", "drift"]


@dataclass(frozen=True, slots=True)
class FolderStanding:
    """A folder beside what its line has now.

    Attributes:
        folder: The folder.
        ref: What it holds.
        standing: `current`, `ahead` of the channel, `behind` it, `superseded` by a newer version
            where the channel serves none, `revoked`, `corrupt`, or `gone` from the registry.
        served: What the channel serves; empty where that is nothing.
        newest: The newest version of the line; empty where it is gone.
        revocation: Who revoked what the folder holds.
    """

    folder: Path
    ref: str
    standing: Standing
    served: str = ""
    newest: str = ""
    revocation: Revocation | None = None

    @property
    def is_fine(self) -> bool:
        """Whether there is nothing to do about it."""
        return self.standing in {"current", "ahead"}

    def to_dict(self) -> dict[str, object]:
        """An item of `deltareg outdated --json`."""
        revocation = self.revocation.model_dump() if self.revocation else None
        return {
            "folder": str(self.folder),
            "ref": self.ref,
            "standing": self.standing,
            "served": self.served,
            "newest": self.newest,
            "revocation": revocation,
        }


@dataclass(frozen=True, slots=True)
class OutdatedReport:
    """Folders beside what their lines have now.

    Attributes:
        channel: The channel that was looked at.
        folders: The folders, in the order that they were named in.
    """

    channel: str
    folders: Sequence[FolderStanding]

    @property
    def is_fine(self) -> bool:
        """Whether there is nothing to do about any."""
        return all(each.is_fine for each in self.folders)

    def to_dict(self) -> dict[str, object]:
        """The object of `deltareg outdated --json`."""
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
    """A folder of a lock file, and what it was locked to before; empty where it is new."""

    folder: str
    asked: str
    ref: str
    digest: str
    was: str

    def to_dict(self) -> dict[str, object]:
        """An item of `deltareg lock --json`."""
        return {"folder": self.folder, "asked": self.asked, "ref": self.ref, "digest": self.digest, "was": self.was}


@dataclass(frozen=True, slots=True)
class LockReport:
    """What a lock file says now.

    Attributes:
        path: The file.
        is_changed: Whether it says anything else than before.
        folders: What is locked.
    """

    path: Path
    is_changed: bool
    folders: Sequence[LockedFolder]

    def to_dict(self) -> dict[str, object]:
        """The object of `deltareg lock --json`."""
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
        """An item of `deltareg sync --json`."""
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
        is_plan: Whether nothing was done.
        folders: Each of them.
    """

    is_plan: bool
    folders: Sequence[SyncedFolder]

    @property
    def is_drifted(self) -> bool:
        """Whether something is not as the lock says, and was not made so."""
        steps = {each.step for each in self.folders}
        return "drift" in steps or (self.is_plan and steps != {"kept"} and bool(steps))

    def to_dict(self) -> dict[str, object]:
        """The object of `deltareg sync --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "is_plan": self.is_plan,
            "drift": self.is_drifted,
            "items": [each.to_dict() for each in self.folders],
        }
