"""Stored answers to requests that may be repeated: `Idempotency-Key`."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.access.rows import KeptAnswerRow
from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.sql.fetch import fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import idempotency

KEPT_S = 24 * 3600


def kept_answer(conn: sa.Connection, *, principal_id: int, key: str) -> KeptAnswerRow | None:
    """Find the answer that a principal got for a key within the last 24 hours."""
    query = sa.select(idempotency).where(
        idempotency.c.principal_id == principal_id,
        idempotency.c.key == key,
        idempotency.c.created_at > now_us() - KEPT_S * US_PER_S,
    )
    return fetch_one(conn, query, KeptAnswerRow)


def keep_answer(
    conn: sa.Connection,
    *,
    principal_id: int,
    key: str,
    request_digest: str,
    status: int,
    body: bytes,
    headers: Mapping[str, str],
) -> None:
    """Store an answer, replacing an older one under the same key."""
    answer = {
        "request_digest": request_digest,
        "status": status,
        "body": body,
        "headers": dict(headers),
        "created_at": now_us(),
    }
    conn.execute(
        insert(conn, idempotency)
        .values(principal_id=principal_id, key=key, **answer)
        .on_conflict_do_update(index_elements=["principal_id", "key"], set_=answer)
    )


def past_answers(conn: sa.Connection, *, limit: int) -> Sequence[int]:
    """List answers that are older than a repeated request is answered by, the oldest first."""
    query = (
        sa.select(idempotency.c.id)
        .where(idempotency.c.created_at <= now_us() - KEPT_S * US_PER_S)
        .order_by(idempotency.c.created_at)
        .limit(limit)
    )
    return conn.execute(query).scalars().all()


def drop_answers(conn: sa.Connection, ids: Sequence[int]) -> int:
    """Drop answers, unless another took the place of one meanwhile; return how many."""
    is_past = idempotency.c.created_at <= now_us() - KEPT_S * US_PER_S
    return conn.execute(sa.delete(idempotency).where(idempotency.c.id.in_(ids), is_past)).rowcount
