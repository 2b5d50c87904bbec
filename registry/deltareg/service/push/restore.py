"""Restoring a deleted version, until collection has freed its bytes.

Deleting, restoring and releasing all lock the row of the version, so of two the later sees the
earlier. No clock decides: whatever still has its packs can be restored.
"""

import sqlalchemy as sa

from deltareg.db.bases import stacks
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import versions as queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import with_retry
from deltareg.db.storage import packs, proofs
from deltareg.db.storage.shares import PackHolder
from deltareg.db.upkeep import damage
from deltareg.errors import Conflict
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Right
from deltareg.service.deleted import refuse_released
from deltareg.service.describe import describe_version, ref_of
from deltareg.service.events import Action
from deltareg.service.lines.veil import tell_version, veil_base
from deltareg.service.push.damage import hurt_by
from deltareg.service.quotas.holding import within_quotas
from deltareg.service.quotas.room import explain_room
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.service.resolve import find_line, find_version
from deltareg.service.runs.kinds.prove import queue_proof
from deltareg.wire import LineState, VersionInfo


def restore_version(registry: Registry, caller: Caller, ref: Ref) -> VersionInfo:
    """Restore a deleted version; one that is not deleted stays as it is.

    Whoever may delete it may restore it. It comes back with its number, verdicts, revocation and
    quarantines. Damage that the store suffered meanwhile is recorded now; otherwise its bytes are
    proven anew, because no check covered them while it was deleted.

    Raises:
        Blocked: Collection has freed its bytes.
        Conflict: The same content was pushed again since, or what it was made from or stands on is
            deleted.
    """
    caller.require(Right.ADMIN, on=ref.line)

    def transaction(conn: sa.Connection) -> VersionInfo:
        line = find_line(conn, caller, ref.line, lock=True, also_deleted=True)
        with within_quotas(conn, namespace_scope(ref.line.namespace), None):
            if line.deleted_at is not None:
                delta_queries.set_deleted(conn, line.id, None)
        version_id = find_version(conn, caller, ref, bare="newest").id
        queries.lock_version(conn, version_id)
        row = queries.version_by_id(conn, version_id)
        if row.deleted_at is not None:
            _check(conn, caller, row)
            with within_quotas(conn, namespace_scope(row.namespace), row.created_by):
                queries.restore_version(conn, row.id)
            caller.record(
                conn,
                Action.VERSION_RESTORE,
                ref_of(row),
                on=ref.line,
                before={"deleted": True},
                after={"deleted": False},
            )
            _look_again(conn, caller, PackHolder(row.id))
            for base_id in stacks.bases_that_are(conn, row.id):
                _look_again(conn, caller, PackHolder(base_id, is_base=True))
        return veil_base(caller, describe_version(conn, queries.version_by_id(conn, row.id)))

    with explain_room(registry.engine):
        return with_retry(registry.engine, transaction)


def restore_line(registry: Registry, caller: Caller, line: LineRef) -> LineState:
    """Restore a deleted line with the versions that were deleted with it and have their bytes still.

    One that is not deleted stays as it is.

    Raises:
        Blocked: Collection has freed the bytes of all of them.
        Conflict: What one of them was made from or stands on is deleted.
    """
    caller.require(Right.ADMIN, on=line)

    def transaction(conn: sa.Connection) -> LineState:
        row = find_line(conn, caller, line, lock=True, also_deleted=True)
        if row.deleted_at is None:
            return LineState(ref=str(line), versions=[])
        gone = [one for one in queries.all_of_line(conn, row.id) if one.deleted_at == row.deleted_at]
        back = [one for one in gone if one.released_at is None]
        if gone and not back:
            refuse_released(gone[-1])
        with within_quotas(conn, namespace_scope(line.namespace), None):
            delta_queries.set_deleted(conn, row.id, None)
            for one in back:  # the oldest first, for what was made of it
                queries.lock_version(conn, one.id)
                _check(conn, caller, one)
                queries.restore_version(conn, one.id)
        for one in back:
            _look_again(conn, caller, PackHolder(one.id))
            for base_id in stacks.bases_that_are(conn, one.id):
                _look_again(conn, caller, PackHolder(base_id, is_base=True))
        numbers = [one.number for one in back]
        before, after = {"deleted": True}, {"deleted": False, "versions": numbers}
        caller.record(conn, Action.LINE_RESTORE, str(line), on=line, before=before, after=after)
        return LineState(ref=str(line), versions=numbers)

    with explain_room(registry.engine):
        return with_retry(registry.engine, transaction)


def _look_again(conn: sa.Connection, caller: Caller, held: PackHolder) -> None:
    """Record the state of bytes that nobody could check while they were deleted."""
    bad = damage.bad_packs(conn, held)
    if bad:
        hurt_by(conn, caller, held, why=bad[0].bad_why or "it is damaged")
    standing = proofs.standing(conn, held)
    if standing.corrupt_at is None:
        queue_proof(conn, held, created_by=caller.principal_id, is_anew=standing.is_proven)


def _check(conn: sa.Connection, caller: Caller, row: VersionRow) -> None:
    """Refuse to restore a version that could not stand as it did."""
    refuse_released(row)
    ref = ref_of(row)
    again = queries.find_version(conn, row.delta_id, digest=row.manifest_digest)
    if again is not None:
        raise Conflict(f"{ref_of(again)} is the same as {ref}: it was pushed again", fix=f"use {ref_of(again)}")
    below = [] if row.base_id is None else stacks.stack_below(conn, row.base_id)
    needed = [*queries.parents_of(conn, row.id), *below]
    standing = packs.lock_versions(conn, [one.id for one in needed])
    for one in needed:
        if one.id not in standing:
            name = tell_version(caller, one)
            raise Conflict(f"{ref} needs {name}, which is deleted", fix=f"first: deltareg restore {name}")
