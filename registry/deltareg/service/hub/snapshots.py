"""From a repository id and a revision to its content, or to what is missing of it.

Hub clients distinguish what is missing: a repository, a revision or a file. Where a repository is
unknown, without an error code, they continue with their cache. They need that for base models that
are not here, because one address serves a whole process.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import sqlalchemy as sa

from deltareg.db.access import namespaces
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.db.storage.shares import PackHolder
from deltareg.errors import Blocked, Corrupt, DeltaregError, InvalidInput, NotFound
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.authority.refusals import absent
from deltareg.service.authority.resources import Base, Namespace
from deltareg.service.corrupt import refuse_corrupt
from deltareg.service.deleted import refuse_deleted
from deltareg.service.describe import deprecation_of, proof_of, ref_of
from deltareg.service.hub.hub_bases import RepositoryBases, choose_base, is_recorded, known_bases
from deltareg.service.hub.line_revisions import MAIN, plain_revision, version_meant
from deltareg.service.hub.main_version import HubLine, Main, main_version, newest_passed
from deltareg.service.hub.outcomes import HubOutcome, outcomes_of, tell_outcome
from deltareg.service.hub.tags import state_tags
from deltareg.service.lines.revoked import tell_revocation
from deltareg.service.registry import Caller, Registry
from deltareg.wire import Deprecation

COMMIT_DIGITS = 40
What = Literal["anything", "repository", "revision", "file"]


@dataclass(frozen=True, slots=True)
class MissingContent:
    """Content that does not exist, or may not be returned to anybody.

    Attributes:
        what: The level at which it is missing. `anything`: nothing here has that name, and a client
            may have it from elsewhere.
        error: Why it is missing, and what to do.
        commit: The commit that a file is missing in; empty for anything else.
    """

    what: What
    error: DeltaregError
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A version or a base, seen as a commit of a repository.

    Attributes:
        repository: The id of the repository, as clients should write it.
        held: The version or the base.
        name: Its name here: `ns/name:v3`, or the name of the base.
        manifest_digest: The digest of its manifest.
        created_at: Microseconds since the epoch.
        author: Who sent it.
        message: The message of its push.
        is_proven: Whether somebody other than the sender has decoded all stored bytes.
        is_private: Whether members of its namespace alone read it.
        base: The name of the version's base; empty if the caller may not know it.
        warning: A warning for whoever downloads it; mostly empty.
        of_hub: The commit by which it was requested, if that is a commit of the hub; else empty.
        labels: The labels of the version.
        states: Tags of what the registry knows of the version: its number, how its checks went.
    """

    repository: str
    held: PackHolder
    name: str
    manifest_digest: str
    created_at: int
    author: str
    message: str
    is_proven: bool
    is_private: bool
    base: str = ""
    warning: str = ""
    of_hub: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    states: Sequence[str] = ()

    @property
    def commit(self) -> str:
        """The first forty digits of its digest; clients take anything longer for a branch.

        A request by a commit of the hub gets that commit, because the client looks for files under
        it.
        """
        return self.of_hub or commit_of(self.manifest_digest)


def commit_of(manifest_digest: str) -> str:
    """Return the commit that stands for a manifest."""
    return manifest_digest.removeprefix("sha256:")[:COMMIT_DIGITS]


def look_for(
    registry: Registry, caller: Caller, repository: str, revision: str, *, main: Main
) -> Snapshot | MissingContent:
    """Find the commit that a hub client means.

    Args:
        registry: The database and the store.
        caller: Who asks.
        repository: `NS/NAME` or `NAME`, in any case.
        revision: The revision as the client names it.
        main: What `main` is for those who only read.

    Raises:
        Forbidden: The caller may know of the delta but not read it.
    """
    with read(registry.engine) as conn:
        return find_snapshot(conn, caller, repository, revision, main=main)


def find_snapshot(
    conn: sa.Connection, caller: Caller, repository: str, revision: str, *, main: Main
) -> Snapshot | MissingContent:
    """Find the commit that a client means, as `look_for` does, inside a transaction."""
    target = find_repository(conn, caller, repository)
    if isinstance(target, MissingContent):
        return target
    try:
        if isinstance(target, HubLine):
            if plain_revision(revision) == MAIN:
                meant = main_version(conn, caller, target, main)
                return _of_version(conn, caller, meant.row, reason=meant.reason)
            return _of_version(conn, caller, version_meant(conn, caller, target, revision, main=main))
        of_hub = revision if is_recorded(target, revision) else ""
        row = choose_base(target, revision)
        return _of_base(conn, caller, row, target.repository, of_hub=of_hub)
    except (Blocked, Corrupt, InvalidInput, NotFound) as error:
        return MissingContent("revision", error)


def parse_repository(repository: str) -> LineRef | None:
    """Read the id of a repository as that of a delta: a trainer's default has capital letters."""
    try:
        return LineRef.parse(repository.lower())
    except InvalidInput:
        return None


def find_repository(conn: sa.Connection, caller: Caller, repository: str) -> HubLine | RepositoryBases | MissingContent:
    """Find the delta or the bases that a repository id means.

    Raises:
        Forbidden: The caller may know of the delta but not read it.
    """
    line = parse_repository(repository)
    line = None if line is None else caller.current_line(line)
    if line is not None and caller.sees(line):
        row = delta_queries.delta_row(conn, line.namespace, line.name)
        if row is not None:
            caller.require(Right.READ, on=line)
            return HubLine(line, row.id)
    bases = known_bases(conn, caller, repository)
    if bases.bases:
        return bases
    if line is not None and _is_namespace(conn, caller, line.namespace):
        return MissingContent("repository", absent(line))
    return MissingContent("anything", _unknown(caller, repository))


def _is_namespace(conn: sa.Connection, caller: Caller, name: str) -> bool:
    is_seen = caller.sees(Namespace(name))
    return is_seen and namespaces.namespace_row(conn, name) is not None


def _unknown(caller: Caller, repository: str) -> NotFound:
    message = f"{repository[:120]} is no delta and no base here"
    if caller.is_anonymous:
        return NotFound(
            f"{message} that is read without a token",
            fix="set HF_TOKEN to a token of this registry: deltareg token create",
        )
    return NotFound(
        message,
        fix="a base model is loaded from your cache or a folder, or stored here once:"
        f" deltareg base push PATH NAME --hub-id {repository[:120]}",
    )


def _of_version(conn: sa.Connection, caller: Caller, row: VersionRow, *, reason: str = "") -> Snapshot:
    refuse_deleted(row)
    refuse_corrupt(conn, caller, PackHolder(row.id), ref_of(row))
    base = row.base_name or ""
    outcome = outcomes_of(conn, [row.id])[row.id]
    deprecation = deprecation_of(row.deprecation or row.line_deprecation)
    return Snapshot(
        repository=f"{row.namespace}/{row.line}",
        held=PackHolder(row.id),
        name=ref_of(row),
        manifest_digest=row.manifest_digest,
        created_at=row.created_at,
        author=row.maker or "registry",
        message=row.message,
        is_proven=proof_of(row) == "proven",
        is_private=is_private(conn, row.namespace),
        base=base if base and caller.may(Right.READ, on=Base(base)) else "",
        warning="; ".join(text for text in (reason, *_warnings(conn, row, outcome, deprecation)) if text),
        labels=row.labels,
        states=state_tags(
            row.number, outcome, is_revoked=row.revoked_at is not None, is_deprecated=deprecation is not None
        ),
    )


def _warnings(
    conn: sa.Connection, row: VersionRow, outcome: HubOutcome, deprecation: Deprecation | None
) -> Iterator[str]:
    """Yield what whoever takes a version should know of it, and what to take instead."""
    if row.revoked_at is not None:
        yield f"{ref_of(row)} is {tell_revocation(conn, row)}"
    if outcome == "fail":
        yield f"{ref_of(row)} {tell_outcome(outcome)}"
    if deprecation is not None:
        instead = f"; use {deprecation.successor}" if deprecation.successor else ""
        yield f"{ref_of(row)} is deprecated by {deprecation.actor}: {deprecation.reason}{instead}"
    if row.revoked_at is not None or outcome == "fail":
        number = newest_passed(conn, row.delta_id)
        yield f"the newest that passed is v{number}" if number is not None else ""


def _of_base(conn: sa.Connection, caller: Caller, row: BaseRow, repository: str, *, of_hub: str) -> Snapshot:
    held = PackHolder(row.id, is_base=True)
    refuse_corrupt(conn, caller, held, row.name)
    namespace = Base(row.name).namespace
    return Snapshot(
        repository=repository,
        held=held,
        name=row.name,
        manifest_digest=row.manifest_digest,
        created_at=row.created_at,
        author=row.maker or "registry",
        message="",
        is_proven=proof_of(row) == "proven",
        is_private=namespace is not None and is_private(conn, namespace),
        of_hub=of_hub,
    )


def is_private(conn: sa.Connection, namespace: str) -> bool:
    """Whether members of a namespace alone read what is in it; whoever has a token reads what is internal."""
    row = namespaces.namespace_row(conn, namespace)
    return row is not None and row.visibility == "private"
