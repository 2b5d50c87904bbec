"""Reading versions: list, show, manifest, storage, log, lineage; and deleting one."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import sqlalchemy as sa

from deltareg.db.bases import stacks
from deltareg.db.channels import channels as channel_queries
from deltareg.db.channels.rows import PointerRow
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import versions as queries
from deltareg.db.lines.rows import ListedLineRow
from deltareg.db.lines.version_rows import ResolvedRow, VersionRow
from deltareg.db.session import read, try_transaction, with_retry
from deltareg.db.storage.shares import PackHolder
from deltareg.errors import Conflict
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE
from deltareg.service.clock import rfc3339
from deltareg.service.corrupt import refuse_corrupt
from deltareg.service.deleted import refuse_deleted
from deltareg.service.describe import describe_detail, describe_resolved, describe_version, describe_versions, ref_of
from deltareg.service.events import Action
from deltareg.service.ledger.freeze import frozen_channels
from deltareg.service.lines.veil import tell_version, veil_base, veiled_detail
from deltareg.service.paging import check_limit, page, read_cursor, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import Bare, find_line, find_version, resolve_version
from deltareg.suites.suite import DEFAULT_SUITE, built_in
from deltareg.wire import LineInfo, Page, VersionDetail, VersionInfo


def list_lines(
    registry: Registry, caller: Caller, *, only: delta_queries.LineFilter, cursor: str | None, limit: int
) -> Page[LineInfo]:
    """List delta lines by name with their newest versions and what their channels serve.

    Lines that the caller may not read are left out.
    """
    caller.require(Right.READ, on=SOMEWHERE)
    after = read_cursor(cursor)
    with read(registry.engine) as conn:
        digest = str(built_in(DEFAULT_SUITE).digest)
        conditions = replace(only, suite_digest=digest, sight=caller.sight)
        rows = delta_queries.line_rows(conn, only=conditions, after=after, limit=check_limit(limit) + 1)
        pointers = channel_queries.pointers(conn, [row.id for row in rows])
        newest = _newest(conn, caller, rows, pointers)
        serving: dict[int, dict[str, int]] = {}
        for pointer in pointers:
            serving.setdefault(pointer.delta_id, {})[pointer.name] = pointer.number
        frozen = frozen_channels(conn, [row.id for row in rows])
    return page(
        rows,
        limit,
        key=lambda row: row.path,
        show=lambda row: LineInfo(
            ref=row.path,
            versions=row.versions,
            newest=None if row.newest_id is None else newest.get(row.newest_id),
            channels=serving.get(row.id, {}),
            frozen=frozen.get(row.id, []),
            created_at=rfc3339(row.created_at),
        ),
    )


def list_versions(
    registry: Registry,
    caller: Caller,
    line: LineRef,
    *,
    labels: Sequence[delta_queries.AskedLabel] = (),
    cursor: str | None,
    limit: int,
) -> Page[VersionInfo]:
    """List the versions of a line that have the given labels, newest first."""
    caller.require(Right.READ, on=line)
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        delta = find_line(conn, caller, line, also_deleted=True)
        rows = queries.version_rows(conn, delta.id, before=before, limit=check_limit(limit) + 1, labels=labels)
        infos = {info.version: info for info in describe_versions(conn, rows)}
        infos = {number: veil_base(caller, info) for number, info in infos.items()}
    return page(rows, limit, show=lambda row: infos[row.number], key=lambda row: row.number)


def show_version(registry: Registry, caller: Caller, ref: Ref, *, bare: Bare) -> VersionDetail:
    """Show the version that a reference means."""
    with read(registry.engine) as conn:
        rows = resolve_version(conn, caller, ref, bare=bare)
        return veiled_detail(caller, describe_detail(conn, rows))


def show_found(
    conn: sa.Connection, caller: Caller, found: Sequence[ResolvedRow], *, ref: Ref, bare: Bare, slim: bool
) -> VersionInfo:
    """Show the version that a reference means, from the rows that `look_up` read.

    With `slim`, leave out what its manifest says.
    """
    rows = resolve_version(conn, caller, ref, bare=bare, found=found)
    if slim:
        return veil_base(caller, describe_resolved(rows))
    return veiled_detail(caller, describe_detail(conn, rows))


def manifest_bytes(registry: Registry, caller: Caller, ref: Ref) -> bytes:
    """Return the manifest of a version, exactly as it was received."""
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        return queries.content(conn, find_version(conn, caller, ref, bare="newest").id).manifest


def storage_bytes(registry: Registry, caller: Caller, ref: Ref) -> bytes:
    """Return the current storage map of a version.

    Raises:
        Blocked: The version is deleted.
        Corrupt: The stored bytes are not those of the version.
    """
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        version = find_version(conn, caller, ref, bare="newest")
        refuse_deleted(version)
        refuse_corrupt(conn, caller, PackHolder(version.id), ref_of(version))
        return queries.content(conn, version.id).storage_map


def delete_version(registry: Registry, caller: Caller, ref: Ref, *, dry_run: bool = False) -> VersionInfo:
    """Delete a version; its number is never reused, and its bytes go after the grace period.

    With `dry_run`, only check whether it could be deleted.

    Raises:
        Conflict: A channel serves it, or another version was made from it or stands on it as a
            base.
    """
    caller.require(Right.ADMIN, on=ref.line)

    def transaction(conn: sa.Connection) -> VersionInfo:
        find_line(conn, caller, ref.line, lock=True)
        row = find_version(conn, caller, ref, bare="newest")
        queries.lock_version(conn, row.id)
        if row.deleted_at is None:
            refuse_if_needed(conn, caller, row)
            queries.delete_version(conn, row.id)
            after = {"deleted": True}
            caller.record(conn, Action.VERSION_DELETE, ref_of(row), on=ref.line, before={"deleted": False}, after=after)
        return veil_base(caller, describe_version(conn, queries.version_by_id(conn, row.id)))

    return (try_transaction if dry_run else with_retry)(registry.engine, transaction)


def _newest(
    conn: sa.Connection, caller: Caller, rows: Sequence[ListedLineRow], pointers: Sequence[PointerRow]
) -> dict[int, VersionInfo]:
    versions = queries.versions_by_ids(conn, [row.newest_id for row in rows if row.newest_id is not None])
    infos = [veil_base(caller, info) for info in describe_versions(conn, list(versions.values()), serving=pointers)]
    return dict(zip(versions, infos, strict=True))


def refuse_if_needed(
    conn: sa.Connection, caller: Caller, row: VersionRow, *, beside: Collection[int] = frozenset()
) -> None:
    """Refuse to delete a version that others need, `beside` those that go with it.

    Raises:
        Conflict: A channel serves it, or another version was made from it or stands on it.
    """
    ref = ref_of(row)
    serving = channel_queries.serving_channels(conn, row.id)
    if serving:
        channel = serving[0]
        line = f"{row.namespace}/{row.line}"
        raise Conflict(
            f"{ref} is what {channel} serves",
            fix=f"promote another version first, or: deltareg rollback {line} --channel {channel};"
            f" where nobody needs {channel}: deltareg channel rm {line} {channel}",
        )
    children = [one for one in queries.children_of(conn, row.id) if one.id not in beside]
    if children:
        child = tell_version(caller, children[0])
        raise Conflict(f"{child} was made from {ref}", fix="delete the newer one first")
    standing = [one for one in stacks.stacked_on(conn, row.id) if one.id not in beside]
    if standing:
        above = tell_version(caller, standing[0])
        fix = f"remove that one first: deltareg rm {above}"
        if above != ref_of(standing[0]):
            fix = "ask an admin of the registry whose it is"
        raise Conflict(f"{ref} is the base of {above}", fix=fix)
