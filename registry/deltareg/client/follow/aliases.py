"""The alias file: the name that each channel is served under, for programs that send requests."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ValidationError

from deltareg.client.follow.release import FollowedChannel
from deltareg.wire import BaseState

_SCHEMA = 1


class Alias(BaseModel):
    """One channel's entry.

    Attributes:
        served: The name to ask the engine for; for the engine `dir`, the folder to read.
        version: The version's number.
        digest: The version's digest.
        revision: The channel's revision that is being served.
        path: The folder that holds the version.
        base: Whether the engine has the base that the version is for.
    """

    served: str
    version: int
    digest: str
    revision: int
    path: str
    base: BaseState = "unchecked"


class _Document(BaseModel):
    schema_version: int = _SCHEMA
    channels: dict[str, Alias] = {}


@dataclass(slots=True)
class AliasFile:
    """An alias file, rewritten as a whole at every change.

    Attributes:
        path: Its path.
        entries: Its entries, by channel.
    """

    path: Path
    entries: dict[str, Alias] = field(default_factory=dict[str, Alias])

    @classmethod
    def read(cls, path: Path, followed: list[FollowedChannel]) -> "AliasFile":
        """Read what an earlier run wrote, without channels that are no longer followed."""
        names = {str(each) for each in followed}
        try:
            entries = _Document.model_validate_json(path.read_bytes()).channels
        except (OSError, ValidationError):  # not there yet, or not ours: it is written anew
            entries = {}
        return cls(path, {name: alias for name, alias in entries.items() if name in names})

    def put(self, followed: FollowedChannel, alias: Alias) -> None:
        """Change one entry; readers see the file before or after the change, never in between."""
        if self.entries.get(str(followed)) == alias and self.path.exists():
            return
        self.entries[str(followed)] = alias
        _write(self.path, self.entries)

    def take_out(self, followed: FollowedChannel) -> None:
        """Remove a channel's entry: nothing is served for it."""
        if self.entries.pop(str(followed), None) is not None:
            _write(self.path, self.entries)


def _write(path: Path, entries: Mapping[str, Alias]) -> None:
    document = _Document(channels=dict(sorted(entries.items())))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.next")  # one name: what a kill leaves is written over
    with draft.open("w") as file:
        file.write(json.dumps(document.model_dump(), indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
