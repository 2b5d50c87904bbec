"""Bringing a line in step with a branch on a hub: the newest commit's files are the line's next version.

A commit comes once. Versions name theirs in a label, deleted ones too; and equal files are one version, so
neither a run that was killed nor two at once push a second. Commits in between do not come, and what the
hub takes back changes nothing here. The line's policy judges what came, as any push.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from typing import Literal

from deltareg.client import Client
from deltareg.client.mirror.mirror import MirrorReport
from deltareg.errors import DeltaregError, NotFound, Unauthenticated
from deltareg.integrations.hub_lines.hub import Hub
from deltareg.integrations.hub_lines.repository import HubCommit, HubRepository
from deltareg.integrations.hub_lines.room import HubNote, HubRoom
from deltareg.integrations.imported import SOURCE, ImportedFolder
from deltareg.refs import LineRef
from deltareg.suites.golden_file import GOLDEN_FILE
from deltareg.wire import VersionInfo

_MOST_GAPS = 100
_SHORT = 12


@dataclass(frozen=True, slots=True)
class FollowingLine:
    """A line that follows a branch of a repository.

    Attributes:
        repository: The repository and its branch.
        line: The line.
        base: The base of its versions; empty for that of the line's newest, else the one that the files name.
    """

    repository: HubRepository
    line: str
    base: str = ""

    def room(self, client: Client) -> HubRoom:
        """Return its room on this machine."""
        own = self.repository
        return HubRoom(client.cache.path, client.config.server, own.url, own.revision, self.line, self.base)


def bring_newest(client: Client, of: FollowingLine, *, token: str = "", is_at_once: bool = False) -> MirrorReport:
    """Push the newest commit of a branch, if the line does not have it.

    Args:
        client: A client of the registry.
        of: The line and what it follows.
        token: The token for the hub; empty for what everybody may read there.
        is_at_once: Whether to try what failed before, however short ago.

    Returns:
        What was done; what did not come is named in `left`, and is tried again later.

    Raises:
        Misconfigured: The hub's library is not installed, or plain http would show the token.
        Unavailable: The registry does not answer; run it again.
    """
    LineRef.parse(of.line)
    hub = Hub(of.repository, token=token, is_network_trusted=client.config.insecure_http)
    run = _Run(client, of, hub)
    try:
        with run.room.alone():
            run.bring(is_at_once=is_at_once)
    except BlockingIOError:
        run.report.left.append(f"{of.line}: another run is at it")
    return run.report


class _Run:
    """One run."""

    def __init__(self, client: Client, of: FollowingLine, hub: Hub) -> None:
        self._client, self._of, self._hub = client, of, hub
        self.room = of.room(client)
        self.report = MirrorReport(f"{of.repository.url}@{of.repository.revision}", client.config.server)

    def bring(self, *, is_at_once: bool) -> None:
        """Look up the newest commit, and push it if it is not here."""
        before = self.room.read()
        is_waiting = not is_at_once and before.is_waiting(time.time())
        if is_waiting and not before.refused:
            self._leave(before)
            return
        try:
            commit = self._hub.newest()
        except DeltaregError as error:
            self._fail(before, "", error)
            return
        here = self._find(commit, before)
        if here:
            self._end(commit, here)
        elif is_waiting and commit.id == before.refused:
            self._leave(before)
        else:
            self._push(commit, before)

    def _push(self, commit: HubCommit, before: HubNote) -> None:
        try:
            files = commit.choose_files()
            folder = self.room.files(commit.id)
            self._hub.fetch(commit, files, folder)
        except DeltaregError as error:
            self._fail(before, commit.id, error)
            return
        origin = self._of.repository.origin(commit.id)
        # Computed here they would make another version of the same commit than elsewhere.
        golden: Literal[False] | None = None if any(file.path == GOLDEN_FILE for file in files) else False
        try:
            pushed = self._client.push(
                folder,
                self._of.line,
                base=self._of.base or self._base_of_line(),
                message=f"imported from {self._of.repository.url}@{commit.id[:_SHORT]}",
                labels=ImportedFolder(folder, origin).all_labels(),
                golden=golden,
            )
        except DeltaregError as error:
            if error.retryable or isinstance(error, Unauthenticated):
                raise
            self._fail(before, commit.id, error)
            return
        self.report.sent_bytes = pushed.uploaded_bytes
        if pushed.created:
            self.report.brought.append(pushed.ref)
        self._end(commit, pushed.ref)

    def _find(self, commit: HubCommit, before: HubNote) -> str:
        """Return the version that a commit is, though it may be deleted; empty if there is none."""
        label = self._of.repository.origin(commit.id)
        with suppress(NotFound):
            for version in self._client.versions.list(self._of.line, labels={SOURCE: label}, limit=1):
                return version.ref
        if before.commit == commit.id and before.ref:  # other files are equal to these, and came first
            with suppress(NotFound):
                return self._client.show(before.ref).ref
        deleted = islice(self._list_deleted(), _MOST_GAPS)
        return next((one.ref for one in deleted if one.labels.get(SOURCE) == label), "")

    def _list_deleted(self) -> Iterator[VersionInfo]:
        """Give the deleted versions of the line, newest first: the gaps in its numbers."""
        try:
            numbers = {version.version for version in self._client.versions.list(self._of.line)}
        except NotFound:
            return
        newest = max(numbers, default=0)
        with suppress(NotFound):
            for number in count(newest + 1):
                yield self._client.show(f"{self._of.line}:v{number}")
        for number in (n for n in range(newest, 0, -1) if n not in numbers):
            with suppress(NotFound):
                yield self._client.show(f"{self._of.line}:v{number}")

    def _base_of_line(self) -> str | None:
        with suppress(NotFound):
            for version in self._client.versions.list(self._of.line, limit=1):
                return version.base.name or None
        return None

    def _end(self, commit: HubCommit, ref: str) -> None:
        self.report.there = 0 if self.report.brought else 1
        self.room.keep(HubNote(commit.id, ref, tried_at=time.time()))
        self.room.empty()

    def _fail(self, before: HubNote, commit: str, error: DeltaregError) -> None:
        """Note why it did not come. Files that came stay for the next try."""
        note = before.after(commit, error.message, time.time())
        self.room.keep(note)
        self._leave(note)

    def _leave(self, note: HubNote) -> None:
        self.report.left.append(f"{self._of.line}: {_why_waiting(note)}")


def describe(note: HubNote) -> str:
    """Say how far a line is, and why no further."""
    here = f"{note.ref} is commit {note.commit[:_SHORT]}" if note.ref else ""
    return "; ".join(part for part in (here, _why_waiting(note) if note.failures else "") if part)


def _why_waiting(note: HubNote) -> str:
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(note.next_at))
    commit = f"commit {note.refused[:_SHORT]}: " if note.refused else ""
    return f"{commit}{note.failed}; tried again from {at} on"
