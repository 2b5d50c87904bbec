"""Principals and their tokens."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.access.grants import behind, held_by
from deltareg.db.access.rows import HeldRow, PrincipalRow, TokenRow
from deltareg.db.sql.among import all_among
from deltareg.db.sql.clock import now_us, read_clock
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.together import CombinedQuery, QueryPart
from deltareg.db.tables import principals, token_origins, tokens


def principal_id(conn: sa.Connection, name: str) -> int | None:
    """Return the id of a principal, or None if nobody has that name."""
    return conn.execute(sa.select(principals.c.id).where(principals.c.name == name)).scalar()


def principal_rows(conn: sa.Connection, *, kind: str | None, after: str | None, limit: int) -> Sequence[PrincipalRow]:
    """List principals by name."""
    query = sa.select(principals.c.id, principals.c.name, principals.c.kind, principals.c.disabled_at)
    query = query.order_by(principals.c.name).limit(limit)
    if kind is not None:
        query = query.where(principals.c.kind == kind)
    if after is not None:
        query = query.where(principals.c.name > after)
    return fetch_all(conn, query, PrincipalRow)


def principal_row(conn: sa.Connection, name: str) -> PrincipalRow | None:
    """Find a principal by its name."""
    query = sa.select(principals.c.id, principals.c.name, principals.c.kind, principals.c.disabled_at).where(
        principals.c.name == name
    )
    return fetch_one(conn, query, PrincipalRow)


def live_tokens_noted(conn: sa.Connection, principal: str, *, note: str) -> list[int]:
    """List the live tokens of a principal with the given note: neither revoked nor expired."""
    query = (
        sa.select(tokens.c.id)
        .join(principals, principals.c.id == tokens.c.principal_id)
        .where(
            principals.c.name == principal,
            tokens.c.note == note,
            tokens.c.revoked_at.is_(None),
            sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now_us()),
        )
        .order_by(tokens.c.id)
    )
    return list(conn.execute(query).scalars())


def lock_principal(conn: sa.Connection, name: str) -> tuple[int, str] | None:
    """Return a principal's id and kind and lock it until the transaction ends; None if missing."""
    query = sa.select(principals.c.id, principals.c.kind).where(principals.c.name == name)
    row = conn.execute(query.with_for_update()).first()
    return None if row is None else (int(row.id), str(row.kind))


def principal_name(conn: sa.Connection, row_id: int | None) -> str:
    """Return the name of a principal; None as the id stands for the registry itself."""
    name = conn.execute(sa.select(principals.c.name).where(principals.c.id == row_id)).scalar()
    return "the registry" if name is None else str(name)


def add_principal(conn: sa.Connection, name: str, *, kind: str) -> int:
    """Insert a principal and return its id."""
    insert = sa.insert(principals).values(name=name, kind=kind).returning(principals.c.id)
    return int(conn.execute(insert).scalar_one())


def add_origin(conn: sa.Connection, token_id: int, *, renews: int | None = None, made_with: int | None = None) -> None:
    """Record how somebody came to a token of their own."""
    conn.execute(sa.insert(token_origins).values(token_id=token_id, renews=renews, made_with=made_with))


def origin_of(conn: sa.Connection, token_id: int) -> int | None:
    """Return the token with which somebody made one for themselves; None for any other token."""
    return conn.execute(sa.select(token_origins.c.made_with).where(token_origins.c.token_id == token_id)).scalar()


def renewals_of(conn: sa.Connection, token_id: int) -> Sequence[TokenRow]:
    """List the live tokens that took the place of another one, newest first."""
    query = _select_tokens().join(token_origins, token_origins.c.token_id == tokens.c.id)
    return fetch_all(conn, query.where(token_origins.c.renews == token_id, tokens.c.revoked_at.is_(None)), TokenRow)


def family_of(conn: sa.Connection, token_id: int) -> set[int]:
    """Return the tokens that end with one: what it renewed, what renews it, and what was made with any of them."""
    family: set[int] = set()
    added = {token_id}
    while added:
        family |= added
        of_them = sa.or_(token_origins.c.made_with.in_(added), token_origins.c.renews.in_(added))
        down = sa.select(token_origins.c.token_id).where(of_them)
        up = sa.select(token_origins.c.renews).where(
            token_origins.c.token_id.in_(added), token_origins.c.renews.is_not(None)
        )
        added = {row[0] for row in [*conn.execute(down), *conn.execute(up)]} - family
    return family


def end_soon(conn: sa.Connection, token_id: int, *, in_us: int) -> None:
    """Let a token end after so long, unless it ends before."""
    at = now_us() + in_us
    is_later = sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > at)
    conn.execute(sa.update(tokens).where(tokens.c.id == token_id, is_later).values(expires_at=at))


def add_token(
    conn: sa.Connection,
    *,
    token_hash: str,
    display: str,
    principal_id: int,
    kind: str,
    scopes: Sequence[str],
    namespaces: Sequence[str] | None,
    note: str,
    created_by: int | None,
    expires_in_us: int | None,
    not_after: int | None = None,
    claims: Mapping[str, object] | None = None,
    trust_id: int | None = None,
) -> int:
    """Insert a token, stored only as a hash, and return its id.

    It ends after `expires_in_us`, and no later than `not_after`, both in microseconds. The clock is read once: how
    long a token lives is a rule, and PostgreSQL's clock goes on within a statement.
    One that was exchanged has the `claims` that name its workflow, and the trust that accepted them.
    """
    made_at = read_clock(conn)
    ends = [at for at in (not_after, None if expires_in_us is None else made_at + expires_in_us) if at is not None]
    insert = sa.insert(tokens).values(
        token_hash=token_hash,
        display=display,
        principal_id=principal_id,
        kind=kind,
        scopes=list(scopes),
        namespaces=None if namespaces is None else list(namespaces),
        note=note,
        created_at=made_at,
        created_by=created_by,
        expires_at=min(ends, default=None),
        claims=None if claims is None else dict(claims),
        trust_id=trust_id,
    )
    return int(conn.execute(insert.returning(tokens.c.id)).scalar_one())


def set_secret(conn: sa.Connection, token_id: int, *, token_hash: str, display: str) -> None:
    """Give a token, whose secret nobody knows, another one."""
    conn.execute(sa.update(tokens).where(tokens.c.id == token_id).values(token_hash=token_hash, display=display))


def touch_token(conn: sa.Connection, token_id: int) -> None:
    """Record that a token was used now."""
    conn.execute(sa.update(tokens).where(tokens.c.id == token_id).values(last_used_at=now_us()))


def live_tokens_of(conn: sa.Connection, principal_id: int) -> Sequence[TokenRow]:
    """List the live tokens of a principal, newest first; none if the principal is disabled."""
    return live_tokens(conn, [principal_id])


def live_tokens(conn: sa.Connection, principal_ids: Sequence[int]) -> Sequence[TokenRow]:
    """List the live tokens of some principals, newest first; those of a disabled one are not live."""
    query = _select_tokens().where(
        tokens.c.principal_id.in_(principal_ids),
        tokens.c.revoked_at.is_(None),
        principals.c.disabled_at.is_(None),
        sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now_us()),
    )
    return fetch_all(conn, query, TokenRow)


def token_rows(
    conn: sa.Connection,
    *,
    token_id: int | None = None,
    of_principals: Sequence[int] | None = None,
    within: Sequence[str] = (),
    before: int | None = None,
    limit: int = 50,
) -> Sequence[TokenRow]:
    """List tokens without their hashes, newest first; exchanged ones while they last.

    Args:
        conn: A transaction.
        token_id: Only this one.
        of_principals: Only those of some principals; None for all.
        within: And with `of_principals`, service accounts' tokens that are limited to some of these namespaces.
        before: Only older ones.
        limit: How many at most.
    """
    query = _select_tokens().limit(limit)
    if of_principals is not None:
        query = query.where(sa.or_(tokens.c.principal_id.in_(of_principals), _is_within(within)))
    if token_id is not None:
        query = query.where(tokens.c.id == token_id)
    else:
        query = query.where(sa.or_(tokens.c.trust_id.is_(None), tokens.c.expires_at > now_us()))
    if before is not None:
        query = query.where(tokens.c.id < before)
    return fetch_all(conn, query, TokenRow)


def _is_within(names: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a token is a service account's and limited to some namespaces, none of which is another."""
    if not names:
        return sa.false()
    return sa.and_(
        principals.c.kind == "service",
        tokens.c.namespaces.is_not(None),
        all_among(tokens.c.namespaces, json.dumps(list(names))),
    )


def own_token(conn: sa.Connection, token_id: int) -> tuple[TokenRow, str]:
    """Return a token that is known to exist, and its principal's grants in `held_by` format."""
    result = _OWN.run(conn, token_id=token_id)
    return result.all(_TOKEN)[0], result.all(_HELD)[0].held or ""


def _select_tokens() -> sa.Select[*tuple[Any, ...]]:
    maker = principals.alias("maker")
    return (
        sa.select(
            tokens.c.id,
            tokens.c.display,
            tokens.c.kind,
            tokens.c.scopes,
            tokens.c.note,
            tokens.c.created_at,
            tokens.c.expires_at,
            tokens.c.revoked_at,
            tokens.c.last_used_at,
            principals.c.name.label("principal"),
            maker.c.name.label("created_by"),
            tokens.c.namespaces,
            behind(tokens.c.principal_id).label("people"),
        )
        .join(principals, principals.c.id == tokens.c.principal_id)
        .outerjoin(maker, maker.c.id == tokens.c.created_by)
        .order_by(tokens.c.id.desc())
    )


def revoke_token(conn: sa.Connection, token_id: int) -> bool:
    """Revoke a token; return False if it was revoked before or does not exist."""
    update = sa.update(tokens).where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None)).values(revoked_at=now_us())
    return conn.execute(update).rowcount == 1


def end_tokens_of(conn: sa.Connection, principal: str) -> None:
    """Revoke every live token of a principal."""
    owner = sa.select(principals.c.id).where(principals.c.name == principal).scalar_subquery()
    conn.execute(
        sa.update(tokens)
        .where(tokens.c.principal_id == owner, tokens.c.revoked_at.is_(None))
        .values(revoked_at=now_us())
    )


def count_tokens(conn: sa.Connection) -> int:
    """Count all tokens, revoked and expired ones included."""
    return int(conn.execute(sa.select(sa.func.count()).select_from(tokens)).scalar_one())


_TOKEN_ID: sa.BindParameter[int] = sa.bindparam("token_id", type_=sa.BigInteger)
_TOKEN: Final = QueryPart(_select_tokens().where(tokens.c.id == _TOKEN_ID), TokenRow)
_HELD: Final = QueryPart(
    sa.select(held_by(tokens.c.principal_id).label("held")).where(tokens.c.id == _TOKEN_ID), HeldRow
)
_OWN: Final = CombinedQuery(_TOKEN, _HELD)
