"""Rotation of the servers' key: another takes its place, by a row of the log that the old key signs.

The row, the new key, and the checkpoint of the old key over the row are one transaction that holds the log.
So a rotation happened or it did not, whoever is killed meanwhile, and what is sealed afterwards stands
under the new key. The old key has ended then: what it signed counts on, and nobody has it any more.
"""

import sqlalchemy as sa

from deltareg.db.session import read, with_retry
from deltareg.db.trail import trail as queries
from deltareg.db.verdicts import server_keys as key_queries
from deltareg.db.verdicts import signing as signing_queries
from deltareg.db.verdicts.signing_rows import ServerKeyRow
from deltareg.errors import Conflict, Misconfigured
from deltareg.service.access.server_keys import SERVER, open_key, seal_key
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.events import Action, record_event
from deltareg.service.registry import Registry
from deltareg.service.trail.seal import SealBatch, append_batch, begin_log, build_batch
from deltareg.signing.keys import SigningKey
from deltareg.signing.secret_box import SecretBox

_LOST = "if nobody has it any more, or it was revoked: deltareg server keys rotate --lost"


def rotate_server_key(registry: Registry, new: SigningKey, *, is_lost: bool = False) -> SealBatch:
    """Put a key in the place of the one that servers sign with; return the batch with the row that says so.

    Args:
        registry: The database, the key to seal with, and as `signer` the key in a file here, if there is one.
        new: The new key.
        is_lost: The old key is lost or was revoked: nothing vouches for the new one, so whoever trusts
            the servers has to say that they trust it.

    Raises:
        Misconfigured: Servers share no key to seal with, or the old key is not here.
        Conflict: The old key was revoked, the new one was in use before, or the servers have none yet.
    """
    box = registry.box
    if box is None:
        raise Misconfigured(
            "servers without a key to seal with cannot share one that rotates",
            fix="openssl rand -base64 32 > FILE, chmod 600 FILE; let DELTAREG_WEBHOOK_KEY name it on all servers",
        )
    with read(registry.engine) as conn:
        is_begun = queries.origin_of_log(conn) is not None
    if not is_begun:
        with_retry(registry.engine, begin_log)

    def transaction(conn: sa.Connection) -> SealBatch:
        origin = queries.origin_of_log(conn, lock=True)
        row = key_queries.current_key(conn, lock=True)
        if row is None or origin is None:
            raise Conflict("the servers have no key yet", fix="start one: deltareg server run")
        old = None if is_lost else _old_key(conn, registry, box, row)
        audit_id = _record(conn, row.keyid, new, is_lost=is_lost)
        key_queries.replace_key(conn, new.keyid, sealed=seal_key(box, new), audit_id=audit_id)
        told = [queries.waiting_row(conn, audit_id)]
        batch = build_batch(conn, told, old or new, origin, signs=not is_lost)
        append_batch(conn, batch)
        return batch

    return with_retry(registry.engine, transaction)


def _old_key(conn: sa.Connection, registry: Registry, box: SecretBox, row: ServerKeyRow) -> SigningKey:
    """Return the key that is replaced, which has to sign.

    Raises:
        Misconfigured: It is not here.
        Conflict: It was revoked, so what it signs counts for nothing.
    """
    known = signing_queries.find_key(conn, keyid=row.keyid)
    if known is not None and known.revoked_at is not None:
        raise Conflict(f"the servers' key {row.keyid[:16]} was revoked, and vouches for no other", fix=_LOST)
    if row.sealed is not None:
        try:
            return open_key(box, row)
        except Misconfigured as error:
            raise Misconfigured(f"the servers' key {row.keyid[:16]} is {error.message}", fix=_LOST) from error
    if registry.signer is None or registry.signer.keyid != row.keyid:
        raise Misconfigured(
            f"the servers' key {row.keyid[:16]} is in a file that is not here",
            fix=f"run it where DELTAREG_SIGNING_KEY names that file; {_LOST}",
        )
    return registry.signer


def _record(conn: sa.Connection, old: str, new: SigningKey, *, is_lost: bool) -> int:
    """Enrol the new key, and say in the audit trail which one it replaces; return the row's number."""
    is_new = signing_queries.add_key(
        conn,
        role=SERVER,
        name=SERVER,
        principal_id=None,
        keyid=new.keyid,
        public=str(new.public),
        host="",
        created_by=None,
    )
    if not is_new:
        raise Conflict(f"the key {new.keyid[:16]} was in use before", fix="leave it out: a new one is made")
    return record_event(
        conn,
        Action.KEY_ROTATE,
        f"key/{new.keyid}",
        on=EVERYTHING,
        before={"role": SERVER, "name": SERVER, "keyid": old, "host": ""},
        after={"role": SERVER, "name": SERVER, "key": str(new.public), "host": "", "is_lost": is_lost},
        actor="registry",
    )
