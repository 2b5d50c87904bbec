"""From the id of a repository and a revision to what is in it; or to what of it is missing.

Clients of the hub tell apart what is missing: a repository, a revision or a file. They go on with
what their cache has where a repository is unknown without a code, which is what they need of base
models that are not here: one address serves a whole process.
"""

from dataclasses import dataclass
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
from deltareg.service.describe import proof_of, ref_of
from deltareg.service.hub.hub_bases import RepositoryBases, choose_base, is_recorded, known_bases
from deltareg.service.hub.line_revisions import HubLine, Main, version_meant
from deltareg.service.lines.revoked import tell_revocation
from deltareg.service.registry import Caller, Registry

COMMIT_DIGITS = 40
What = Literal["anything", "repository", "revision", "file"]


@dataclass(frozen=True, slots=True)
class MissingContent:
    """What there is not, or is given to nobody.

    Attributes:
        what: Up to where it was found. `anything`: nothing here is called so, and a client may
            have it from elsewhere.
        error: Why, and what to do.
        commit: The commit that a file is missing in; empty for anything else.
    """

    what: What
    error: DeltaregError
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A version, or a base, as a commit of a repository.

    Attributes:
        repository: Its id, as it is to be called.
        held: The version or the base.
        name: What it is called here: `ns/name:v3`, or the base's name.
        manifest_digest: What is in it.
        created_at: Microseconds since the epoch.
        author: Who sent it.
        message: What was said of it.
        is_proven: Whether somebody else has decoded all that is stored.
        is_public: Whether everybody may read it.
        base: The name of the version's base, where the caller may know it; else empty.
        warning: What whoever takes it should know; mostly empty.
        of_hub: The commit that it was asked by, where that is one that the hub has; else empty.
    """

    repository: str
    held: PackHolder
    name: str
    manifest_digest: str
    created_at: int
    author: str
    message: str
    is_proven: bool
    is_public: bool
    base: str = ""
    warning: str = ""
    of_hub: str = ""

    @property
    def commit(self) -> str:
        """Forty digits of its digest: clients take what is longer for a branch, and ask again.

        Who asks by a commit of the hub looks for the files under that one.
        """
        return self.of_hub or self.manifest_digest.removeprefix("sha256:")[:COMMIT_DIGITS]


def look_for(
    registry: Registry, caller: Caller, repository: str, revision: str, *, main: Main
) -> Snapshot | MissingContent:
    """Find what a client of the hub means.

    Args:
        registry: Where to look.
        caller: Who asks.
        repository: `NS/NAME` or `NAME`, in any case.
        revision: What it calls a revision.
        main: What `main` is for those who only read.

    Raises:
        Forbidden: The caller may know of the delta and not read it.
    """
    with read(registry.engine) as conn:
        return find_snapshot(conn, caller, repository, revision, main=main)


def find_snapshot(
    conn: sa.Connection, caller: Caller, repository: str, revision: str, *, main: Main
) -> Snapshot | MissingContent:
    """Find what a client means, as `look_for` does, in a transaction."""
    found = find_repository(conn, caller, repository)
    if isinstance(found, MissingContent):
        return found
    try:
        if isinstance(found, HubLine):
            version = version_meant(conn, caller, found, revision, main=main)
            return _of_version(conn, caller, version)
        of_hub = revision if is_recorded(found, revision) else ""
        row = choose_base(found, revision)
        return _of_base(conn, caller, row, found.repository, of_hub=of_hub)
    except (Blocked, Corrupt, InvalidInput, NotFound) as error:
        return MissingContent("revision", error)


def parse_repository(repository: str) -> LineRef | None:
    """Read the id of a repository as that of a delta: a trainer's default has capital letters."""
    try:
        return LineRef.parse(repository.lower())
    except InvalidInput:
        return None


def find_repository(conn: sa.Connection, caller: Caller, repository: str) -> HubLine | RepositoryBases | MissingContent:
    """Find the delta or the bases that a repository's id means.

    Raises:
        Forbidden: The caller may know of the delta and not read it.
    """
    line = parse_repository(repository)
    if line is not None and caller.sees(line):
        row = delta_queries.delta_row(conn, line.namespace, line.name)
        if row is not None:
            caller.require(Right.READ, on=line)
            return HubLine(line, row.id)
    known = known_bases(conn, caller, repository)
    if known.bases:
        return known
    if line is not None and _is_namespace(conn, caller, line.namespace):
        return MissingContent("repository", absent(line))
    return MissingContent("anything", _unknown(caller, repository))


def _is_namespace(conn: sa.Connection, caller: Caller, name: str) -> bool:
    is_seen = caller.sees(Namespace(name))
    return is_seen and namespaces.namespace_row(conn, name) is not None


def _unknown(caller: Caller, repository: str) -> NotFound:
    told = f"{repository[:120]} is no delta and no base here"
    if caller.is_anonymous:
        return NotFound(
            f"{told} that is read without a token",
            fix="set HF_TOKEN to a token of this registry: deltareg token create",
        )
    return NotFound(
        told,
        fix="a base model is loaded from your cache or a folder, or stored here once:"
        f" deltareg base push PATH NAME --hub-id {repository[:120]}",
    )


def _of_version(conn: sa.Connection, caller: Caller, row: VersionRow) -> Snapshot:
    refuse_deleted(row)
    refuse_corrupt(conn, caller, PackHolder(row.id), ref_of(row))
    base = row.base_name or ""
    warning = "" if row.revoked_at is None else f"{ref_of(row)} is {tell_revocation(conn, row)}"
    return Snapshot(
        repository=f"{row.namespace}/{row.line}",
        held=PackHolder(row.id),
        name=ref_of(row),
        manifest_digest=row.manifest_digest,
        created_at=row.created_at,
        author=row.maker or "registry",
        message=row.message,
        is_proven=proof_of(row) == "proven",
        is_public=_is_public(conn, row.namespace),
        base=base if base and caller.may(Right.READ, on=Base(base)) else "",
        warning=warning,
    )


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
        is_public=namespace is not None and _is_public(conn, namespace),
        of_hub=of_hub,
    )


def _is_public(conn: sa.Connection, namespace: str) -> bool:
    row = namespaces.namespace_row(conn, namespace)
    return row is not None and row.visibility == "public"
