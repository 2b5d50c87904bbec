"""Branches, tags and commits of a repository."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions as queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.errors import NotFound
from deltareg.service.describe import ref_of
from deltareg.service.hub.line_revisions import MAIN, HubLine, Main, version_meant
from deltareg.service.hub.snapshots import COMMIT_DIGITS, MissingContent, Snapshot, find_repository, find_snapshot
from deltareg.service.registry import Caller, Registry

_MOST = 1_000
"""Versions that are listed; older ones are found by their names."""


@dataclass(frozen=True, slots=True)
class NamedCommit:
    """A branch or a tag, and the commit that it leads to."""

    name: str
    commit: str


@dataclass(frozen=True, slots=True)
class HubRefs:
    """What a repository's commits are called: channels are branches, versions are tags."""

    branches: Sequence[NamedCommit]
    tags: Sequence[NamedCommit]


@dataclass(frozen=True, slots=True)
class Commit:
    """A version, in the words of a history."""

    commit: str
    title: str
    message: str
    author: str
    created_at: int


def look_for_refs(registry: Registry, caller: Caller, repository: str, *, main: Main) -> HubRefs | MissingContent:
    """List branches and tags; the arguments are those of `snapshots.look_for`."""
    with read(registry.engine) as conn:
        found = find_repository(conn, caller, repository)
        if isinstance(found, MissingContent):
            return found
        if not isinstance(found, HubLine):
            snapshot = find_snapshot(conn, caller, repository, MAIN, main=main)
            return HubRefs([] if isinstance(snapshot, MissingContent) else [_main(snapshot)], [])
        return _refs_of(conn, caller, found, main)


def look_for_commits(
    registry: Registry, caller: Caller, repository: str, revision: str, *, main: Main
) -> list[Commit] | MissingContent:
    """List the versions up to the one that a revision means, newest first."""
    with read(registry.engine) as conn:
        found = find_snapshot(conn, caller, repository, revision, main=main)
        if isinstance(found, MissingContent):
            return found
        if found.held.is_base:
            title = f"the base {found.name}"
            return [Commit(found.commit, title, "", found.author, found.created_at)]
        newest = queries.version_by_id(conn, found.held.row_id)
        rows = queries.version_rows(conn, newest.delta_id, before=newest.number + 1, limit=_MOST)
    return [
        Commit(_commit(row), f"{ref_of(row)} ({row.kind})", row.message, row.maker or "registry", row.created_at)
        for row in rows
    ]


def _refs_of(conn: sa.Connection, caller: Caller, delta: HubLine, main: Main) -> HubRefs:
    rows = queries.version_rows(conn, delta.row_id, before=None, limit=_MOST)
    branches: list[NamedCommit] = []
    try:
        newest = version_meant(conn, caller, delta, MAIN, main=main)
        branches.append(NamedCommit(MAIN, _commit(newest)))
    except NotFound:  # nothing was promoted yet: there is no main for who only reads
        pass
    pointers = channel_queries.pointers(conn, [delta.row_id])
    served = queries.versions_by_ids(conn, [pointer.version for pointer in pointers])
    branches += [
        NamedCommit(pointer.name, _commit(served[pointer.version])) for pointer in pointers if pointer.name != MAIN
    ]
    tags = [NamedCommit(f"v{row.number}", _commit(row)) for row in rows]
    tags += [NamedCommit(row.semver, _commit(row)) for row in rows if row.semver]
    return HubRefs(branches, tags)


def _main(snapshot: Snapshot) -> NamedCommit:
    return NamedCommit(MAIN, snapshot.commit)


def _commit(row: VersionRow) -> str:
    return row.manifest_digest.removeprefix("sha256:")[:COMMIT_DIGITS]
