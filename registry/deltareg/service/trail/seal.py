"""Sealing: rows of the audit trail become leaves of the log, in batches, each under a checkpoint.

A change only adds its row, which then waits; no transaction of a user waits for the head of the
log. Any server process may seal. A batch is read and hashed first, then appended in a short
transaction that locks the log and continues only if nobody else has sealed meanwhile. So rows are
in the log in the order in which they were read, each once.

It may be killed at any moment, and continues where it stopped. A checkpoint is sent to the places
outside the database once it is committed; one that was not sent is covered by the next.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.access.rows import AuditRecordRow
from deltareg.db.session import read, with_retry
from deltareg.db.trail import trail as queries
from deltareg.db.verdicts import signing as signing_queries
from deltareg.service.access.server_keys import current_signer
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.events import Action, record_event
from deltareg.service.registry import Registry
from deltareg.service.trail.leaves import hashes_in, leaf_of_row
from deltareg.signing.keys import SigningKey
from deltareg.trail.checkpoint import Checkpoint
from deltareg.trail.leaves import hash_of
from deltareg.trail.merkle import Frontier, Node
from deltareg.trail.statements import SIGNED, sign_change

log = logging.getLogger(__name__)

ROWS = 1_000
"""How many rows a batch has at most."""


@dataclass(frozen=True, slots=True)
class SealBatch:
    """Rows that are sealed together.

    Attributes:
        begin: How many leaves precede it.
        rows: The ids of the rows, in their order.
        leaves: Their hashes.
        nodes: The tree nodes that they complete.
        statements: The signed statements about rows, by row.
        checkpoint: The head of the log after it.
        note: The checkpoint, signed.
    """

    begin: int
    rows: Sequence[int]
    leaves: Sequence[bytes]
    nodes: Sequence[Node]
    statements: Sequence[tuple[int, bytes]]
    checkpoint: Checkpoint
    note: str


def seal_some(registry: Registry, *, rows: int = ROWS, tell: Callable[[SealBatch], object] | None = None) -> int:
    """Seal one batch; return its number of rows, 0 if none waits or another process seals.

    Nothing is sealed if the server has no key, or a revoked one.

    Args:
        registry: The database, and the server's key.
        rows: How many rows to seal at most.
        tell: Called with the batch once it is committed.
    """
    with read(registry.engine) as conn:
        waiting = queries.waiting_rows(conn, limit=rows)
        signer = current_signer(conn, registry)
        if not waiting or signer is None or not _may_sign(conn, signer):
            return 0
        origin = queries.origin_of_log(conn)
        batch = None if origin is None else build_batch(conn, waiting, signer, origin)
    if batch is None:  # the first batch of all is the next one
        with_retry(registry.engine, begin_log)
        return seal_some(registry, rows=rows, tell=tell)
    if not with_retry(registry.engine, lambda conn: append_batch(conn, batch)):
        return 0
    if tell is not None:
        tell(batch)
    return len(waiting)


def begin_log(conn: sa.Connection) -> None:
    """Name the log, and record its beginning as a row: earlier rows are sealed as they were then."""
    origin = f"deltareg/{uuid4()}"
    if queries.name_log(conn, origin):
        record_event(
            conn, Action.LOG_BEGIN, "log", on=EVERYTHING, before=None, after={"origin": origin}, actor="registry"
        )


def _may_sign(conn: sa.Connection, signer: SigningKey) -> bool:
    key = signing_queries.find_key(conn, keyid=signer.keyid)
    if key is not None and key.revoked_at is not None:
        log.warning(
            "nothing is sealed: the servers' key %s was revoked; deltareg server keys rotate --lost", signer.keyid[:16]
        )
        return False
    return True


def build_batch(
    conn: sa.Connection, waiting: Sequence[AuditRecordRow], signer: SigningKey, origin: str, *, signs: bool = False
) -> SealBatch:
    """Hash rows and sign the log with them at its end.

    Args:
        conn: A transaction.
        waiting: The rows.
        signer: The key.
        origin: The log.
        signs: Whether to sign each row by itself, whatever it is about.
    """
    begin = queries.log_size(conn)
    frontier = Frontier.of(hashes_in(conn), begin)
    leaves: list[bytes] = []
    nodes: list[Node] = []
    statements: list[tuple[int, bytes]] = []
    for row in waiting:
        signed = sign_change(leaf_of_row(row), signer) if signs or row.action in SIGNED else b""
        if signed:
            statements.append((row.id, signed))
        leaves.append(hash_of(leaf_of_row(row, statement=signed)))
        nodes += frontier.add(leaves[-1])
    checkpoint = Checkpoint(origin, frontier.size, frontier.root())
    ids = [row.id for row in waiting]
    return SealBatch(begin, ids, leaves, nodes, statements, checkpoint, checkpoint.sign(signer))


def append_batch(conn: sa.Connection, batch: SealBatch) -> bool:
    """Append a batch to the log, which this locks; return False if another was quicker."""
    queries.origin_of_log(conn, lock=True)
    if queries.log_size(conn) != batch.begin:
        return False
    places = range(batch.begin, batch.checkpoint.size)
    queries.add_batch(
        conn,
        leaves=list(zip(places, batch.rows, batch.leaves, strict=True)),
        nodes=batch.nodes,
        statements=batch.statements,
        size=batch.checkpoint.size,
        note=batch.note,
    )
    return True
