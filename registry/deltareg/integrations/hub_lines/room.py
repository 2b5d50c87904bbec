"""What this machine remembers of a line that follows a repository, and where files are while they come.

A note only saves asking again: which commit a version is of, its labels say. Without the note the
same commit is fetched once more, and pushed as what it is already.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from deltareg.client.disk.kept_files import keep_note, read_note, remove
from deltareg.documents.json_values import parse_json

_FIRST_WAIT_S, _LONGEST_WAIT_S = 600.0, 86_400.0
_NOTE, _LOCK, _FILES = "note.json", "lock", "files"


@dataclass(frozen=True, slots=True)
class HubNote:
    """What came of the last try.

    Attributes:
        commit: The commit that is here.
        ref: The version that has its files.
        refused: The commit that did not come; empty where the hub named none.
        failed: Why nothing came.
        failures: How many tries in a row failed so.
        tried_at: When, in seconds since the epoch.
    """

    commit: str = ""
    ref: str = ""
    refused: str = ""
    failed: str = ""
    failures: int = 0
    tried_at: float = 0.0

    def after(self, refused: str, failed: str, now: float) -> "HubNote":
        """Return the note after a try that failed."""
        failures = self.failures + 1 if self.failures and self.refused == refused else 1
        return replace(self, refused=refused, failed=failed, failures=failures, tried_at=now)

    @property
    def next_at(self) -> float:
        """When it is tried again: each failure doubles the time, up to a day."""
        if not self.failures:
            return 0.0
        return self.tried_at + min(_FIRST_WAIT_S * 2.0 ** min(self.failures - 1, 16), _LONGEST_WAIT_S)

    def is_waiting(self, now: float) -> bool:
        """Whether it is too early to try again."""
        return self.tried_at <= now < self.next_at  # a clock that was set back keeps nobody waiting


class HubRoom:
    """A folder of the cache for one line and what it follows."""

    def __init__(self, cache: Path, *of: str) -> None:
        """Name the room.

        Args:
            cache: The cache's folder.
            of: All that makes it another mirror: server, repository, branch, line, base.
        """
        self._cache = cache
        self._path = cache / "mirrors" / hashlib.sha256("\0".join(of).encode()).hexdigest()[:32]

    @contextmanager
    def alone(self) -> Generator[None]:
        """Keep other runs on this machine out during the block; a killed one leaves it open.

        Raises:
            BlockingIOError: Another run is at it.
        """
        self._path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> HubNote:
        """Return the note; an empty one where there is none that can be read."""
        try:
            return HubNote(**cast("dict[str, Any]", parse_json(read_note(self._path / _NOTE) or b"{}")))
        except (ValueError, TypeError):
            return HubNote()

    def keep(self, note: HubNote) -> None:
        """Replace the note."""
        keep_note(self._cache, self._path / _NOTE, json.dumps(asdict(note)).encode())

    def files(self, commit: str) -> Path:
        """Return the folder for the files of a commit, with what an earlier run brought; other commits' go."""
        folder = self._path / _FILES / commit
        self._remove_files(keep=[folder])
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def empty(self) -> None:
        """Remove all files that came."""
        self._remove_files()

    def forget(self) -> None:
        """Remove all of it."""
        remove(self._path)

    def _remove_files(self, keep: Iterable[Path] = ()) -> None:
        kept = set(keep)
        for folder in [one for one in (self._path / _FILES).glob("*") if one not in kept]:
            remove(folder)
