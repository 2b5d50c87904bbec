"""Trusts, the assertions that were used, and the claims of tokens that came of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from deltareg.db.access.trust_rows import TrustRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.tables import namespaces, principals, tokens, trusts, used_assertions
from deltareg.words import Scope, TrustProvider


def add_trust(
    conn: sa.Connection,
    *,
    namespace_id: int,
    principal_id: int,
    provider: TrustProvider,
    issuer: str,
    audience: str,
    conditions: Mapping[str, object],
    scopes: Sequence[Scope],
    note: str,
    created_by: int,
) -> int:
    """Insert a trust and return its id."""
    insert = sa.insert(trusts).values(
        namespace_id=namespace_id,
        principal_id=principal_id,
        provider=provider,
        issuer=issuer,
        audience=audience,
        conditions=dict(conditions),
        scopes=list(scopes),
        note=note,
        created_by=created_by,
    )
    return int(conn.execute(insert.returning(trusts.c.id)).scalar_one())


def trust_row(conn: sa.Connection, trust_id: int, *, lock: bool = False) -> TrustRow | None:
    """Find a trust that has not ended; with `lock`, it does not end before the transaction does."""
    query = _select().where(trusts.c.id == trust_id)
    return fetch_one(conn, query.with_for_update(of=trusts) if lock else query, TrustRow)


def trusts_of_issuer(conn: sa.Connection, issuer: str) -> Sequence[TrustRow]:
    """List the trusts in an issuer that have not ended, in the order in which they were made."""
    return fetch_all(conn, _select().where(trusts.c.issuer == issuer).order_by(trusts.c.id), TrustRow)


def trust_rows(conn: sa.Connection, *, namespace: str | None, after: int | None, limit: int) -> Sequence[TrustRow]:
    """List the trusts of a namespace that have not ended, or of all, in the order in which they were made."""
    query = _select().order_by(trusts.c.id).limit(limit)
    if namespace is not None:
        query = query.where(namespaces.c.name == namespace)
    if after is not None:
        query = query.where(trusts.c.id > after)
    return fetch_all(conn, query, TrustRow)


def count_trusts(conn: sa.Connection, namespace_id: int) -> int:
    """Count the trusts of a namespace that have not ended."""
    query = sa.select(sa.func.count()).where(trusts.c.namespace_id == namespace_id, trusts.c.ended_at.is_(None))
    return int(conn.execute(query).scalar_one())


def end_trust(conn: sa.Connection, trust_id: int, *, ended_by: int) -> bool:
    """End a trust and every token that came of it; return False if it had ended before."""
    update = sa.update(trusts).where(trusts.c.id == trust_id, trusts.c.ended_at.is_(None))
    is_changed = conn.execute(update.values(ended_at=now_us(), ended_by=ended_by)).rowcount == 1
    live = sa.update(tokens).where(tokens.c.trust_id == trust_id, tokens.c.revoked_at.is_(None))
    conn.execute(live.values(revoked_at=now_us()))
    return is_changed


def use_assertion(conn: sa.Connection, digest: str, *, trust_id: int, expires_at: int) -> bool:
    """Record that an assertion is used up; return False if it was before.

    Two transactions that try at once take turns at the primary key. What has expired is forgotten:
    its time alone refuses it from then on.

    Args:
        conn: The transaction that makes the token.
        digest: What identifies the assertion.
        trust_id: The trust that accepts it.
        expires_at: From when on no clock accepts it any more, in µs since the epoch.
    """
    conn.execute(sa.delete(used_assertions).where(used_assertions.c.expires_at < now_us()))
    values = {"digest": digest, "trust_id": trust_id, "expires_at": expires_at}
    try:
        with conn.begin_nested():
            conn.execute(sa.insert(used_assertions).values(values))
    except IntegrityError:
        return False
    return True


def claims_of(conn: sa.Connection, token_ids: Iterable[int | None]) -> dict[int, Mapping[str, object]]:
    """Return the claims of those tokens that were exchanged, keyed by token id."""
    ids = sorted({each for each in token_ids if each is not None})
    if not ids:
        return {}
    query = sa.select(tokens.c.id, tokens.c.claims).where(tokens.c.id.in_(ids), tokens.c.trust_id.is_not(None))
    return {row[0]: row[1] or {} for row in conn.execute(query)}


def _select() -> sa.Select[*tuple[Any, ...]]:
    maker = principals.alias("maker")
    return (
        sa.select(
            trusts.c.id,
            namespaces.c.name.label("namespace"),
            trusts.c.principal_id,
            principals.c.name.label("principal"),
            principals.c.disabled_at,
            trusts.c.provider,
            trusts.c.issuer,
            trusts.c.audience,
            trusts.c.conditions,
            trusts.c.scopes,
            trusts.c.note,
            trusts.c.created_at,
            trusts.c.created_by.label("maker_id"),
            maker.c.name.label("maker"),
            maker.c.disabled_at.label("maker_disabled_at"),
        )
        .join(namespaces, namespaces.c.id == trusts.c.namespace_id)
        .join(principals, principals.c.id == trusts.c.principal_id)
        .join(maker, maker.c.id == trusts.c.created_by)
        .where(trusts.c.ended_at.is_(None))
    )
