"""The keys that servers sign with: which one is used now, and which rows tell of a change."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import server_keys, signing_keys
from deltareg.db.verdicts.signing_rows import KeyRow, ServerKeyRow

_USED = 1
_LIVE = sa.and_(
    signing_keys.c.role == "server", signing_keys.c.retired_at.is_(None), signing_keys.c.revoked_at.is_(None)
)


def current_key(conn: sa.Connection, *, lock: bool = False) -> ServerKeyRow | None:
    """Find the key that servers sign with now; None before the first server of this release.

    Args:
        conn: A transaction.
        lock: Keep others from changing it until the transaction ends.
    """
    query = sa.select(server_keys).where(server_keys.c.slot == _USED)
    return fetch_one(conn, query.with_for_update() if lock else query, ServerKeyRow)


def claim_slot(conn: sa.Connection, keyid: str, *, sealed: bytes | None) -> bool:
    """Make a key the first that all servers use; return False if there is one."""
    added = insert(conn, server_keys).values(keyid=keyid, slot=_USED, sealed=sealed)
    inserted = added.on_conflict_do_nothing(index_elements=["slot"]).returning(server_keys.c.keyid)
    return conn.execute(inserted).scalar() is not None


def keep_sealed(conn: sa.Connection, keyid: str, sealed: bytes) -> None:
    """Store the private half of a key, sealed."""
    conn.execute(sa.update(server_keys).where(server_keys.c.keyid == keyid).values(sealed=sealed))


def replace_key(conn: sa.Connection, keyid: str, *, sealed: bytes, audit_id: int) -> None:
    """Put a key in the place of the current one, whose private half is forgotten; retire all other keys of servers."""
    conn.execute(sa.update(server_keys).where(server_keys.c.slot == _USED).values(slot=None, sealed=None))
    conn.execute(sa.insert(server_keys).values(keyid=keyid, slot=_USED, sealed=sealed, audit_id=audit_id))
    conn.execute(sa.update(signing_keys).where(_LIVE, signing_keys.c.keyid != keyid).values(retired_at=now_us()))


def live_server_keys(conn: sa.Connection) -> Sequence[KeyRow]:
    """List the keys of servers that neither ended nor were revoked, oldest first."""
    return fetch_all(conn, sa.select(signing_keys).where(_LIVE).order_by(signing_keys.c.id), KeyRow)


def rotation_rows(conn: sa.Connection) -> list[int]:
    """List the rows of the audit trail by which a key of servers followed another, oldest first."""
    told = server_keys.c.audit_id
    return list(conn.execute(sa.select(told).where(told.is_not(None)).order_by(told)).scalars())
