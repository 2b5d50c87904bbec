"""Branches, tags and commits of a repository."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.hub.hub_lines import named_versions
from deltareg.db.hub.rows import NamedVersionRow
from deltareg.db.lines import versions as queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.errors import NotFound
from deltareg.service.describe import ref_of
from deltareg.service.hub.line_revisions import MAIN, version_meant
from deltareg.service.hub.main_version import HubLine, Main
from deltareg.service.hub.snapshots import MissingContent, Snapshot, commit_of, find_repository, find_snapshot
from deltareg.service.registry import Caller, Registry

_MOST = 1_000
"""Versions that are listed; older ones are found by their names."""


@dataclass(frozen=True, slots=True)
class NamedCommit:
    """A branch or a tag, and the commit that it points to."""

    name: str
    commit: str


@dataclass(frozen=True, slots=True)
class HubRefs:
    """The names of commits in a repository: channels are branches, versions are tags."""

    branches: Sequence[NamedCommit]
    tags: Sequence[NamedCommit]


@dataclass(frozen=True, slots=True)
class Commit:
    """A version as a commit in a history."""

    commit: str
    title: str
    message: str
    author: str
    created_at: int


def look_for_refs(registry: Registry, caller: Caller, repository: str, *, main: Main) -> HubRefs | MissingContent:
    """List branches and tags; the arguments are those of `snapshots.look_for`."""
    with read(registry.engine) as conn:
        repo = find_repository(conn, caller, repository)
        if isinstance(repo, MissingContent):
            return repo
        if not isinstance(repo, HubLine):
            snapshot = find_snapshot(conn, caller, repository, MAIN, main=main)
            return HubRefs([] if isinstance(snapshot, MissingContent) else [_main(snapshot)], [])
        return _refs_of(conn, caller, repo, main)


def add_to_refs(refs: HubRefs | MissingContent, draft: Snapshot) -> HubRefs:
    """Return the refs with somebody's own draft as `main`."""
    known = HubRefs([], []) if isinstance(refs, MissingContent) else refs
    return HubRefs([_main(draft), *(each for each in known.branches if each.name != MAIN)], known.tags)


def add_to_history(commits: list[Commit] | MissingContent, draft: Snapshot) -> list[Commit]:
    """Return a history with somebody's own draft as its newest commit."""
    older = [] if isinstance(commits, MissingContent) else commits
    return [Commit(draft.commit, draft.name, "", draft.author, draft.created_at), *older]


def look_for_commits(
    registry: Registry, caller: Caller, repository: str, revision: str, *, main: Main
) -> list[Commit] | MissingContent:
    """List the versions up to the one that a revision means, newest first."""
    with read(registry.engine) as conn:
        snapshot = find_snapshot(conn, caller, repository, revision, main=main)
        if isinstance(snapshot, MissingContent):
            return snapshot
        if snapshot.held.is_base:
            title = f"the base {snapshot.name}"
            return [Commit(snapshot.commit, title, "", snapshot.author, snapshot.created_at)]
        newest = queries.version_by_id(conn, snapshot.held.row_id)
        rows = queries.version_rows(conn, newest.delta_id, before=newest.number + 1, limit=_MOST)
    return [
        Commit(_commit(row), f"{ref_of(row)} ({row.kind})", row.message, row.maker or "registry", row.created_at)
        for row in rows
    ]


def _refs_of(conn: sa.Connection, caller: Caller, delta: HubLine, main: Main) -> HubRefs:
    rows = named_versions(conn, delta.row_id, limit=_MOST)
    branches: list[NamedCommit] = []
    try:
        newest = version_meant(conn, caller, delta, MAIN, main=main)
        branches.append(NamedCommit(MAIN, _commit(newest)))
    except NotFound:  # nothing was promoted yet: there is no main for who only reads
        pass
    pointers = channel_queries.pointers(conn, [delta.row_id])
    versions = queries.versions_by_ids(conn, [pointer.version for pointer in pointers])
    branches += [
        NamedCommit(pointer.name, _commit(versions[pointer.version])) for pointer in pointers if pointer.name != MAIN
    ]
    tags = [NamedCommit(f"v{row.number}", _commit(row)) for row in rows]
    tags += [NamedCommit(row.semver, _commit(row)) for row in rows if row.semver]
    names = {ref.name for ref in (*branches, *tags)}
    labelled = {key: row for row in reversed(rows) for key, value in row.labels.items() if not value}
    tags += [NamedCommit(key, _commit(row)) for key, row in sorted(labelled.items()) if key not in names]
    return HubRefs(branches, tags)


def _main(snapshot: Snapshot) -> NamedCommit:
    return NamedCommit(MAIN, snapshot.commit)


def _commit(row: VersionRow | NamedVersionRow) -> str:
    return commit_of(row.manifest_digest)
