"""Trusts in service accounts of clusters, and the keys that their assertions came with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import principals, tokens, worker_assertions, worker_trusts


@dataclass(frozen=True, slots=True)
class WorkerTrustRow:
    """A trust that has not ended: the account is `NAMESPACE/NAME`, the maker an admin who answers for it."""

    id: int
    issuer: str
    audience: str
    account: str
    created_at: int
    maker_id: int
    maker: str
    maker_disabled_at: int | None


def add_worker_trust(conn: sa.Connection, *, issuer: str, audience: str, account: str, created_by: int) -> int:
    """Insert a trust and return its id."""
    values = {"issuer": issuer, "audience": audience, "account": account, "created_by": created_by}
    return int(conn.execute(sa.insert(worker_trusts).values(values).returning(worker_trusts.c.id)).scalar_one())


def worker_trust_row(conn: sa.Connection, trust_id: int, *, lock: bool = False) -> WorkerTrustRow | None:
    """Find a trust that has not ended; with `lock`, it does not end before the transaction does."""
    query = _select().where(worker_trusts.c.id == trust_id)
    return fetch_one(conn, query.with_for_update(of=worker_trusts) if lock else query, WorkerTrustRow)


def worker_trust_rows(conn: sa.Connection, *, issuer: str | None = None) -> Sequence[WorkerTrustRow]:
    """List the trusts that have not ended, of one issuer or of all, in the order in which they were made."""
    query = _select().order_by(worker_trusts.c.id)
    return fetch_all(conn, query if issuer is None else query.where(worker_trusts.c.issuer == issuer), WorkerTrustRow)


def end_worker_trust(conn: sa.Connection, trust_id: int, *, prefix: str, ended_by: int) -> bool:
    """End a trust and the tokens of its workers, whose names begin so; return False if it had ended before."""
    update = sa.update(worker_trusts).where(worker_trusts.c.id == trust_id, worker_trusts.c.ended_at.is_(None))
    is_changed = conn.execute(update.values(ended_at=now_us(), ended_by=ended_by)).rowcount == 1
    own = sa.select(principals.c.id).where(principals.c.name.startswith(prefix, autoescape=True))
    live = sa.update(tokens).where(
        tokens.c.principal_id.in_(own), tokens.c.kind == "wrk", tokens.c.revoked_at.is_(None)
    )
    conn.execute(live.values(revoked_at=now_us()))
    return is_changed


def key_of_assertion(conn: sa.Connection, digest: str, *, trust_id: int, keyid: str, expires_at: int) -> str:
    """Return the key that an assertion came with first, which is this one if it is new.

    Args:
        conn: The transaction that makes the token.
        digest: What identifies the assertion.
        trust_id: The trust that accepts it.
        keyid: The key that it comes with now.
        expires_at: From when on no clock accepts it any more, in µs since the epoch.
    """
    conn.execute(sa.delete(worker_assertions).where(worker_assertions.c.expires_at < now_us()))
    values = {"digest": digest, "trust_id": trust_id, "keyid": keyid, "expires_at": expires_at, "created_at": now_us()}
    conn.execute(insert(conn, worker_assertions).values(values).on_conflict_do_nothing(index_elements=["digest"]))
    query = sa.select(worker_assertions.c.keyid).where(worker_assertions.c.digest == digest)
    return str(conn.execute(query).scalar_one())


def _select() -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(
            worker_trusts.c.id,
            worker_trusts.c.issuer,
            worker_trusts.c.audience,
            worker_trusts.c.account,
            worker_trusts.c.created_at,
            worker_trusts.c.created_by.label("maker_id"),
            principals.c.name.label("maker"),
            principals.c.disabled_at.label("maker_disabled_at"),
        )
        .join(principals, principals.c.id == worker_trusts.c.created_by)
        .where(worker_trusts.c.ended_at.is_(None))
    )
