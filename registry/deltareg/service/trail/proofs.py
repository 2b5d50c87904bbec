"""What others need to verify the log: checkpoints, proofs, and the whole log page by page."""

import base64
from itertools import chain

import sqlalchemy as sa

from deltareg.db.session import read
from deltareg.db.trail import trail as queries
from deltareg.db.trail import trail_state as state
from deltareg.db.trail.audit import namespace_of_audit
from deltareg.db.trail.rows import CheckpointRow, LeafRow
from deltareg.db.verdicts.server_keys import rotation_rows
from deltareg.errors import InvalidInput, NotFound
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SHARED, Namespace
from deltareg.service.paging import read_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.trail.leaves import hashes_in, leaf_of_row
from deltareg.trail.checkpoint import Checkpoint
from deltareg.trail.merkle import consistency_proof, inclusion_proof
from deltareg.wire import (
    CheckpointInfo,
    ConsistencyProof,
    InclusionProof,
    ProvenRow,
    TrailCheckpoint,
    TrailEntry,
    TrailNode,
    TrailPage,
    TrailRow,
    TrailState,
)

MOST_ENTRIES = 1_000
_OUTSIDE = "outside/"
_FIRST, _LAST = -(10**17), 10**17  # what somebody put before or behind the log is shown as well


def show_checkpoint(registry: Registry, caller: Caller, *, rotations: bool = False) -> CheckpointInfo:
    """Return the newest checkpoint.

    Args:
        registry: The database and the store.
        caller: Who asks.
        rotations: With the rows by which a key of the servers followed another, each proven under it.

    Raises:
        NotFound: Nothing has been sealed yet.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        return newest_checkpoint(conn, rotations=rotations)


def prove_consistency(registry: Registry, caller: Caller, *, old: int, new: int) -> ConsistencyProof:
    """Prove that the log at one size begins with the log at another, both as it is now.

    Raises:
        InvalidInput: The log never had such sizes.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        if not 0 <= old <= new <= queries.log_size(conn):
            raise InvalidInput(f"the log has no {old} and then {new} rows", fix="see: deltareg audit checkpoint")
        proof = consistency_proof(hashes_in(conn), old, new)
    return ConsistencyProof(old=old, new=new, hashes=[each.hex() for each in proof])


def prove_row(registry: Registry, caller: Caller, audit_id: int) -> InclusionProof:
    """Prove that a row of the audit trail is in the log.

    Raises:
        NotFound: There is no such row, or it is not sealed yet.
    """
    caller.require(Right.READ, on=SHARED)
    with read(registry.engine) as conn:
        _check_may_read(conn, caller, audit_id)
        row = queries.leaf_of_row(conn, audit_id)
        if row is None or row.id is None:
            raise NotFound(f"row {audit_id} is not in the log", fix="deltareg audit ls; rows wait some seconds")
        newest = newest_checkpoint(conn)
        proof = inclusion_proof(hashes_in(conn), row.position, newest.size)
    statement = row.statement or b""
    return InclusionProof(
        position=row.position,
        leaf=leaf_of_row(row, statement=statement),
        statement=statement.decode(),
        hashes=[each.hex() for each in proof],
        checkpoint=newest,
    )


def read_log(
    registry: Registry, caller: Caller, *, after: str | None, limit: int, position: int | None = None
) -> TrailPage:
    """Return a part of the log in its order; rows that are not in the log come last.

    Args:
        registry: The database and the store.
        caller: Who asks.
        after: Where an earlier part ended; None for the first.
        limit: How many rows a part has at most.
        position: Where the first part begins; None for the beginning of the log.

    Raises:
        InvalidInput: `after` is not from here, or the limit is out of bounds.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    if not 1 <= limit <= MOST_ENTRIES:
        raise InvalidInput(f"limit must be 1 to {MOST_ENTRIES}, not {limit}")
    place = read_cursor(after) or str(_FIRST if position is None else position - 1)
    is_outside, number = place.startswith(_OUTSIDE), place.removeprefix(_OUTSIDE)
    if not number.removeprefix("-").isdecimal() or len(number) > 19:
        raise InvalidInput("not a cursor of this server", fix="start again without it")
    with read(registry.engine) as conn:
        origin = queries.origin_of_log(conn) or ""
        if is_outside:
            return _outside(conn, origin, int(number), limit)
        return _part(conn, origin, int(number), limit)


def _check_may_read(conn: sa.Connection, caller: Caller, audit_id: int) -> None:
    """Refuse a row to all but admins and the owners of the namespace that it is about."""
    namespace = None if caller.may(Right.ADMIN, on=EVERYTHING) else namespace_of_audit(conn, audit_id)
    if namespace is None or not caller.may(Right.ADMIN, on=Namespace(namespace)):
        caller.require(Right.ADMIN, on=EVERYTHING)


def _part(conn: sa.Connection, origin: str, after: int, limit: int) -> TrailPage:
    rows = queries.leaves_after(conn, after, limit=limit)
    is_last = len(rows) < limit
    until = _LAST if is_last else rows[-1].position + 1
    signed = queries.checkpoints_after(conn, after + 1, until=until, limit=limit + 1)
    nodes = queries.nodes_below(conn, after=after + 1, until=until)
    return TrailPage(
        origin=origin,
        entries=[_entry(row) for row in rows],
        checkpoints=[TrailCheckpoint(size=row.size, note=row.note) for row in signed],
        nodes=[TrailNode(level=level, number=at, hash=node.hex()) for level, at, node in nodes],
        after=_cursor(f"{_OUTSIDE}{_FIRST}" if is_last else str(rows[-1].position)),
    )


def _outside(conn: sa.Connection, origin: str, after: int, limit: int) -> TrailPage:
    rows = queries.strays_after(conn, after, limit=limit)
    more = _cursor(f"{_OUTSIDE}{rows[-1].id}") if len(rows) == limit else None
    rows_outside = [TrailRow(leaf=leaf_of_row(row), is_waiting=row.is_waiting) for row in rows]
    if more is not None:
        return TrailPage(origin=origin, entries=[], outside=rows_outside, after=more)
    now = chain(state.channels_now(conn), state.revoked_now(conn), state.keys_now(conn))
    return TrailPage(
        origin=origin,
        entries=[],
        outside=rows_outside,
        size=queries.log_size(conn),
        state=[TrailState(subject=subject, says=says) for subject, says in now],
    )


def _entry(row: LeafRow) -> TrailEntry:
    statement = row.statement or b""
    return TrailEntry(
        position=row.position,
        row=row.audit_id,
        hash=row.hash.hex(),
        sealed_by=row.sealed_by,
        leaf=None if row.id is None else leaf_of_row(row, statement=statement),
        statement=statement.decode(errors="replace"),
    )


def newest_checkpoint(conn: sa.Connection, *, rotations: bool = False) -> CheckpointInfo:
    """Return the newest checkpoint, on request with the rotations of the servers' key.

    Raises:
        NotFound: Nothing has been sealed yet.
    """
    row = queries.newest_checkpoint(conn)
    if row is None:
        raise NotFound(
            "nothing of the audit trail is sealed yet",
            fix="wait a moment; if it stays so, the server has no key: see its log",
        )
    shown = _show_checkpoint(row, waiting=queries.count_waiting(conn, most=MOST_ENTRIES))
    if not rotations:
        return shown
    told = queries.leaves_of_rows(conn, rotation_rows(conn))
    proven = [prove_leaf(conn, each, row.size) for each in told if each.id is not None and each.position < row.size]
    return shown.model_copy(update={"rotations": proven})


def prove_leaf(conn: sa.Connection, row: LeafRow, size: int) -> ProvenRow:
    """Prove that a row is in the log of a size."""
    statement = row.statement or b""
    hashes = inclusion_proof(hashes_in(conn), row.position, size)
    return ProvenRow(
        position=row.position,
        leaf=leaf_of_row(row, statement=statement),
        statement=statement.decode(),
        hashes=[each.hex() for each in hashes],
    )


def _show_checkpoint(row: CheckpointRow, *, waiting: int) -> CheckpointInfo:
    checkpoint = Checkpoint.said_in(row.note)
    return CheckpointInfo(
        origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root.hex(), note=row.note, waiting=waiting
    )


def _cursor(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).decode()
