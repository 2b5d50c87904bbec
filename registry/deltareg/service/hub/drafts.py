"""Drafts: what somebody has committed to a line that is not a delta yet.

A training pushes its README first and its weights later. What has arrived is kept as changes over
the newest version of the line. For whoever sent it, and nobody else, it is `main`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.hub import hub_drafts as queries
from deltareg.db.hub.rows import StagedRow
from deltareg.db.lines.aliases import alias_of_line
from deltareg.db.lines.deltas import namespace_id
from deltareg.db.lines.versions import find_version_named
from deltareg.db.session import read, with_retry
from deltareg.db.storage.shares import PackHolder
from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import NotFound, StaleRevision, Unavailable
from deltareg.refs import LineRef
from deltareg.service.access.founding import require_push
from deltareg.service.hub.files import CommitFile, CommitTree, files_of, manifest_of
from deltareg.service.hub.line_revisions import MAIN
from deltareg.service.hub.main_version import pushes_to
from deltareg.service.hub.snapshots import MissingContent, Snapshot, find_snapshot, is_private, parse_repository
from deltareg.service.push.staging import find_staged, read_staged, scope_of
from deltareg.service.quotas.holding import within_quotas
from deltareg.service.quotas.room import explain_room
from deltareg.service.registry import Caller, Registry
from deltareg.store import BlobStore

Changes = Mapping[str, CommitFile | None]
"""What a draft changes, by path; None for a file that is to go."""
_MAINS = (MAIN, f"refs/heads/{MAIN}")


@dataclass(frozen=True, slots=True)
class DraftState:
    """A line as somebody who pushes to it sees it.

    Attributes:
        newest: The newest version; None where there is none.
        before: The files of that version.
        changes: The changes of the draft.
        touched_at: When the draft was last stored, in microseconds since the epoch; 0 for none.
        newest_number: The number of that version, even if its files cannot be read; 0 where there is none.
    """

    newest: Snapshot | None
    before: Mapping[str, CommitFile]
    changes: Changes
    touched_at: int
    newest_number: int = 0

    @property
    def files(self) -> dict[str, CommitFile]:
        """The files with the changes applied."""
        return over(self.before, self.changes)

    @property
    def commit(self) -> str:
        """The commit id: that of the newest version where nothing is changed."""
        if not self.changes:
            return "" if self.newest is None else self.newest.commit
        return _digits(self)[:40]


@dataclass(frozen=True, slots=True)
class StagedContent:
    """A file of a draft that can be read, like `content.FileContent`."""

    snapshot: Snapshot
    entry: CommitFile
    store: BlobStore
    row: StagedRow

    def read(self, begin: int, end: int) -> Iterator[memoryview]:
        """Yield bytes `begin` to `end` (exclusive).

        Raises:
            IntegrityFailure: The bytes are not those that were sent.
        """
        return read_staged(self.store, self.row, begin, end)


def over(before: Mapping[str, CommitFile], changes: Changes) -> dict[str, CommitFile]:
    """Return files with changes applied."""
    merged = sorted({**before, **changes}.items())
    return {path: entry for path, entry in merged if entry is not None}


def begin_draft(registry: Registry, caller: Caller, line: LineRef) -> bool:
    """Begin a draft for a line that does not exist; False where the line or the draft exists.

    Raises:
        Forbidden: The caller may not push there.
    """

    def transaction(conn: sa.Connection) -> bool:
        require_push(conn, caller, on=line)
        standing = find_standing(conn, caller, line)
        has_draft = queries.draft(conn, str(line), caller.principal_id) is not None
        if standing.newest is not None or has_draft:
            return False
        with within_quotas(conn, scope_of(str(line)), caller.principal_id):
            queries.add_draft(conn, str(line), caller.principal_id)
        return True

    with explain_room(registry.engine):
        return with_retry(registry.engine, transaction)


def find_standing(conn: sa.Connection, caller: Caller, line: LineRef) -> DraftState:
    """Return the state of a line and its draft for somebody who pushes to it.

    Raises:
        Unavailable: The line was renamed since the request began: its drafts went along.
    """
    alias = alias_of_line(conn, line.namespace, line.name)
    if alias is not None and caller.sees(LineRef(alias.to_namespace, alias.to_name)):
        raise Unavailable(f"{line} was renamed meanwhile", fix="push again")
    newest = find_snapshot(conn, caller, str(line), MAIN, main="newest")
    before: dict[str, CommitFile] = {}
    if isinstance(newest, Snapshot):
        before = {file.path: file for file in files_of(manifest_of(conn, newest))}
    row = queries.draft(conn, str(line), caller.principal_id)
    return DraftState(
        None if isinstance(newest, MissingContent) or newest.held.is_base else newest,
        before,
        {} if row is None else decode(row.changes),
        0 if row is None else row.touched_at,
        _newest_number(conn, caller.current_line(line)),
    )


def keep_changes(
    registry: Registry, caller: Caller, line: LineRef, changes: Changes, *, over: DraftState | None = None
) -> None:
    """Add changes to those that the draft holds already.

    Raises:
        Forbidden: The caller may not (any longer) push there.
        StaleRevision: The line or the draft is not what the changes were made over, if that is given.
    """

    def transaction(conn: sa.Connection) -> None:
        require_push(conn, caller, on=line)
        with within_quotas(conn, scope_of(str(line)), caller.principal_id):
            queries.add_draft(conn, str(line), caller.principal_id)
        row = queries.draft(conn, str(line), caller.principal_id, lock=True)
        assert row is not None
        standing = find_standing(conn, caller, line)
        if over is not None and (standing.newest_number, standing.changes) != (over.newest_number, over.changes):
            raise StaleRevision(f"{line} has changed meanwhile", fix="push again")
        merged = {**decode(row.changes), **changes}
        queries.keep_draft(conn, row.id, encode(merged))
        digests = {entry.sha256 for entry in merged.values() if entry is not None}
        there = queries.staged_objects(conn, str(line), caller.principal_id, digests)
        queries.touch(conn, there.values())

    with explain_room(registry.engine):
        with_retry(registry.engine, transaction)


def drop_changes(registry: Registry, caller: Caller, line: LineRef, done: Changes) -> bool:
    """Drop the caller's changes that a version contains now; whether others, which came meanwhile, are left."""

    def transaction(conn: sa.Connection) -> bool:
        row = queries.draft(conn, str(line), caller.principal_id, lock=True)
        if row is None:
            return False
        drafted = decode(row.changes)
        remaining = {path: entry for path, entry in drafted.items() if done.get(path, ...) != entry}
        if remaining:
            queries.keep_draft(conn, row.id, encode(remaining))
        else:
            queries.end_draft(conn, row.id)
        return bool(remaining)

    return with_retry(registry.engine, transaction)


def look_for_draft(registry: Registry, caller: Caller, repository: str, revision: str) -> CommitTree | None:
    """Give somebody's own draft, where the revision means it; None where it means a version."""
    line = parse_repository(repository)
    if line is None or caller.is_anonymous:
        return None
    line = caller.current_line(line)
    with read(registry.engine) as conn:
        row = queries.draft(conn, str(line), caller.principal_id)
        if row is None or not _may_push(conn, caller, line):
            return None
        standing = find_standing(conn, caller, line)
        tree = tree_of(standing, caller, line, is_private=is_private(conn, line.namespace))
    if not standing.changes and standing.newest is not None:
        return None
    return tree if revision in (*_MAINS, tree.snapshot.commit) else None


def look_for_staged(
    registry: Registry, caller: Caller, tree: CommitTree, path: str
) -> StagedContent | MissingContent | None:
    """Find a file of a draft; None for a file of the newest version."""
    entry = next((each for each in tree.files if each.path == path), None)
    if entry is None:
        return MissingContent("file", NotFound(f"the draft has no {path[:120]!r}"))
    line = tree.snapshot.repository
    row = find_staged(registry, line, caller, [entry.sha256]).get(entry.sha256)
    return None if row is None else StagedContent(tree.snapshot, entry, registry.store, row)


def tree_of(standing: DraftState, caller: Caller, line: LineRef, *, is_private: bool) -> CommitTree:
    """Describe a draft as a commit."""
    snapshot = Snapshot(
        repository=str(line),
        held=PackHolder(0),
        name=f"your draft of {line}",
        manifest_digest=f"sha256:{_digits(standing)}",
        created_at=standing.touched_at,
        author=caller.principal,
        message="",
        is_proven=False,
        is_private=is_private,
    )
    return CommitTree(snapshot, list(standing.files.values()), "", "")


def encode(changes: Changes) -> str:
    """Encode changes as the database stores them."""
    return json.dumps(
        {path: None if entry is None else [entry.sha256, entry.size_bytes] for path, entry in sorted(changes.items())}
    )


def decode(text: str) -> dict[str, CommitFile | None]:
    """Decode what `encode` wrote."""
    document: object = json.loads(text)
    assert is_object(document)
    return {path: _entry(path, value) for path, value in document.items()}


def _entry(path: str, value: object) -> CommitFile | None:
    if not is_list(value):
        return None
    sha256, size = value
    return CommitFile(path, int(str(size)), str(sha256))


def _digits(standing: DraftState) -> str:
    newest = "" if standing.newest is None else standing.newest.manifest_digest
    return hashlib.sha256(f"draft {newest} {encode(standing.changes)}".encode()).hexdigest()


def _newest_number(conn: sa.Connection, line: LineRef) -> int:
    row = find_version_named(conn, line.namespace, line.name)
    return 0 if row is None else row.number


def _may_push(conn: sa.Connection, caller: Caller, line: LineRef) -> bool:
    """Whether the caller may still push to a line of which it has a draft."""
    if pushes_to(caller, line):
        return True
    return caller.may_found(line.namespace) and namespace_id(conn, line.namespace) is None
