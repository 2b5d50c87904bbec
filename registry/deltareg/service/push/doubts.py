"""After the revocation of a key: what it has proven is claimed again, for somebody else to prove.

As with verdicts, nothing counts that the key ever signed, even before it was stolen. What channels
serve stays served.
"""

from functools import partial

import sqlalchemy as sa

from deltareg.db.session import read, with_retry
from deltareg.db.storage import proofs
from deltareg.db.storage.shares import PackHolder
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.push.subject import subject_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.kinds.prove import queue_proof


def doubt_proofs(registry: Registry, caller: Caller, keyid: str) -> int:
    """Withdraw proofs that rest on a revoked key alone; return how many. May be called again."""
    caller.require(Right.ADMIN, on=EVERYTHING)
    with read(registry.engine) as conn:
        holders = proofs.proven_by_key(conn, keyid)
    doubt = partial(_doubt, caller=caller, keyid=keyid)
    return sum(with_retry(registry.engine, partial(doubt, held=held)) for held in holders)


def _doubt(conn: sa.Connection, caller: Caller, keyid: str, held: PackHolder) -> bool:
    now = proofs.standing(conn, held, lock=True)
    if not now.is_proven or held not in proofs.proven_by_key(conn, keyid):
        return False
    subject = subject_of(conn, held)
    proofs.forget_pieces(conn, held)
    proofs.claim_anew(conn, held, sent_by=now.sender_id)
    if now.deleted_at is None:
        queue_proof(conn, held, created_by=caller.principal_id, is_anew=True)
    caller.record(
        conn,
        subject.doubted,
        subject.name,
        on=subject.on,
        before={"proof": "proven"},
        after={"proof": "claimed", "keyid": keyid},
    )
    return True
