"""Bytes that came in before there were proofs: proven by existing verdicts, or queued for workers.

It runs in the background, a batch at a time, and can continue at any point: what is settled is
proven or has a run.
"""

import logging
from functools import partial
from typing import Final

import sqlalchemy as sa

from deltareg.db.access.grants import same_person
from deltareg.db.session import read, with_retry
from deltareg.db.storage import proofs
from deltareg.db.storage.shares import PackHolder
from deltareg.db.verdicts.verdicts import verdict_rows
from deltareg.errors import DeltaregError
from deltareg.service.priority import BACKGROUND
from deltareg.service.push.proven import decode_stored, record_proof
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.kinds.prove import queue_proof
from deltareg.service.verdicts.facts import signer_of
from deltareg.service.verdicts.verdicts import DIGESTS

log = logging.getLogger(__name__)

_BATCH, _VERDICTS = 50, 50
_ITSELF: Final = Caller("registry", 0, None, frozenset())


def settle_some_claims(registry: Registry) -> int:
    """Prove, or queue proofs of, some bytes that came in before there were proofs; return how many."""
    with read(registry.engine) as conn:
        waiting = proofs.never_proven(conn, limit=_BATCH)
        is_proven = {held: _is_shown(conn, held) for held in waiting}
    for held in waiting:
        if not (is_proven[held] and _prove(registry, held)):
            queue = partial(queue_proof, held=held, created_by=None, priority=BACKGROUND)
            with_retry(registry.engine, queue)
    return len(waiting)


def _is_shown(conn: sa.Connection, held: PackHolder) -> bool:
    """Whether a verdict by somebody other than the sender checked every digest as stored now.

    A verdict of a worker that is not enrolled, or whose key was revoked, does not count.
    """
    if held.is_base:
        return False
    row = proofs.standing(conn, held)
    if row.storage_revision != 1:  # what was decoded then may not be what is stored now
        return False
    verdicts = verdict_rows(conn, version_id=held.row_id, suite=None, before=None, limit=_VERDICTS)
    return any(
        verdict.created_by is not None
        and not same_person(conn, [row.sender_id or 0], acts=verdict.created_by)
        and not signer_of(verdict).is_local
        and not verdict.key_revoked_at
        and any(c.get("name") == DIGESTS and c.get("verdict") == "pass" for c in verdict.checks)
        for verdict in verdicts
    )


def _prove(registry: Registry, held: PackHolder) -> bool:
    try:
        decoded = decode_stored(registry, held)
    except DeltaregError as error:
        log.warning("what is stored of row %d cannot be read: %s", held.row_id, error.message)
        return False

    def transaction(conn: sa.Connection) -> bool:
        now = proofs.standing(conn, held, lock=True)
        is_as_read = now.storage_revision == decoded.revision and now.corrupt_at is None
        if not is_as_read or now.deleted_at is not None:
            return False
        record_proof(conn, _ITSELF, decoded, before=now)
        return True

    return with_retry(registry.engine, transaction)
