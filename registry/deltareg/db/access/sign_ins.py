"""Sign-ins: tokens that live as long as a provider confirms them, and how they end."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from deltareg.db.access.sign_in_rows import SignInAttemptRow, SignInRow
from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.tables import (
    group_members,
    groups,
    identities,
    logout_tokens,
    principals,
    sessions,
    sign_in_attempts,
    sign_ins,
    tokens,
)

HELD_US: Final = 60 * US_PER_S
KEPT_US: Final = 30 * 24 * 3600 * US_PER_S
"""How long what a provider said of groups counts after it last confirmed somebody: as long as a sign-in may last."""


def add_sign_in(
    conn: sa.Connection,
    *,
    identity_id: int,
    token_id: int,
    provider: str,
    sid: str | None,
    refresh: bytes | None,
    machine: str,
    for_us: int,
) -> int:
    """Insert a sign-in that begins now and return its id."""
    insert = sa.insert(sign_ins).values(
        identity_id=identity_id,
        token_id=token_id,
        provider=provider,
        sid=sid,
        refresh=refresh,
        machine=machine,
        checked_at=now_us(),
        ends_at=now_us() + for_us,
    )
    return int(conn.execute(insert.returning(sign_ins.c.id)).scalar_one())


def forget_sign_ins(conn: sa.Connection) -> None:
    """Delete what the providers of ended sign-ins would be asked with, and after `KEPT_US` the rows.

    Until then a row says when a provider last confirmed somebody (`lapsed_members`); the trail tells of all.
    """
    over = sa.or_(tokens.c.revoked_at.is_not(None), tokens.c.expires_at <= now_us())
    ended = sign_ins.c.token_id.in_(sa.select(tokens.c.id).where(over))
    conn.execute(sa.delete(sign_ins).where(ended, sign_ins.c.checked_at <= now_us() - KEPT_US))
    conn.execute(sa.update(sign_ins).where(ended, sign_ins.c.refresh.is_not(None)).values(refresh=None))


def lapsed_members(conn: sa.Connection, *, issuers: Mapping[str, str]) -> Sequence[tuple[int, str]]:
    """List who is in groups by the word of a provider that does not stand for it any more, with the provider.

    That is one that is no provider of this registry, or that has another issuer than the one that said it, or that
    has confirmed no sign-in of theirs for `KEPT_US`.

    Args:
        conn: A transaction.
        issuers: The issuer of each provider, by its name.
    """
    since = now_us() - KEPT_US
    said = (
        sa.select(sign_ins.c.id)
        .join(identities, identities.c.id == sign_ins.c.identity_id)
        .where(
            identities.c.principal_id == group_members.c.member_id,
            sign_ins.c.provider == groups.c.source,
            sign_ins.c.checked_at > since,
        )
        .correlate(group_members, groups)
    )
    is_issuer = sa.case(issuers, value=groups.c.source, else_="") == identities.c.issuer
    is_old = sa.or_(group_members.c.created_at <= since, sa.exists(said))
    query = (
        sa.select(group_members.c.member_id, groups.c.source)
        .join(groups, groups.c.group_id == group_members.c.group_id)
        .where(
            groups.c.source != "",
            sa.or_(groups.c.source.not_in(list(issuers)), sa.and_(is_old, ~sa.exists(said.where(is_issuer)))),
        )
        .distinct()
        .order_by(group_members.c.member_id, groups.c.source)
    )
    return [(row[0], row[1]) for row in conn.execute(query)]


def due_sign_ins(conn: sa.Connection, *, used_us: int, anyway_us: int, limit: int) -> Sequence[SignInRow]:
    """List live sign-ins that their provider is to be asked about, and that no server asks about now.

    Args:
        conn: The connection.
        used_us: How long ago one that was used since must have been checked, µs.
        anyway_us: How long ago any other, µs.
        limit: How many at most.
    """
    is_due = sa.or_(
        sa.and_(sign_ins.c.checked_at < now_us() - used_us, tokens.c.last_used_at > sign_ins.c.checked_at),
        sign_ins.c.checked_at < now_us() - anyway_us,
    )
    is_free = sa.or_(sign_ins.c.held_until.is_(None), sign_ins.c.held_until < now_us())
    query = _select_live().where(sign_ins.c.refresh.is_not(None), is_due, is_free)
    return fetch_all(conn, query.order_by(sign_ins.c.checked_at).limit(limit), SignInRow)


def hold_sign_in(conn: sa.Connection, row: SignInRow) -> bool:
    """Take a sign-in to ask about it; return False if another server was quicker."""
    update = (
        sa.update(sign_ins)
        .where(
            sign_ins.c.id == row.id,
            sign_ins.c.checked_at == row.checked_at,
            sa.or_(sign_ins.c.held_until.is_(None), sign_ins.c.held_until < now_us()),
        )
        .values(held_until=now_us() + HELD_US)
    )
    return conn.execute(update).rowcount == 1


def confirm_sign_in(conn: sa.Connection, row: SignInRow, *, refresh: bytes | None, for_us: int) -> None:
    """Store that a provider confirms a sign-in: its token lives on for a while, to its end at most."""
    conn.execute(
        sa.update(sign_ins).where(sign_ins.c.id == row.id).values(checked_at=now_us(), held_until=None, refresh=refresh)
    )
    until = now_us() + for_us
    ends = sa.case((until < row.ends_at, until), else_=row.ends_at)
    conn.execute(sa.update(tokens).where(tokens.c.id == row.token_id).values(expires_at=ends))


def live_sign_ins(
    conn: sa.Connection,
    *,
    identity_id: int | None = None,
    principal_id: int | None = None,
    sign_in_id: int | None = None,
    token_id: int | None = None,
) -> Sequence[SignInRow]:
    """List live sign-ins of an identity or a principal, or the one with a number, newest first."""
    query = _select_live().order_by(sign_ins.c.id.desc())
    if identity_id is not None:
        query = query.where(sign_ins.c.identity_id == identity_id)
    if principal_id is not None:
        query = query.where(identities.c.principal_id == principal_id)
    if sign_in_id is not None:
        query = query.where(sign_ins.c.id == sign_in_id)
    if token_id is not None:
        query = query.where(sign_ins.c.token_id == token_id)
    return fetch_all(conn, query, SignInRow)


def named_sign_ins(
    conn: sa.Connection, *, issuer: str, subject: str | None, sid: str | None, until_us: int
) -> Sequence[SignInRow]:
    """List live sign-ins at an issuer that began by a time, of a subject, a session, or both."""
    query = _select_live().where(identities.c.issuer == issuer, sign_ins.c.created_at <= until_us)
    if subject is not None:
        query = query.where(identities.c.subject == subject)
    if sid is not None:
        query = query.where(sign_ins.c.sid == sid)
    return fetch_all(conn, query, SignInRow)


def browser_sign_in_of(conn: sa.Connection, session_id: int) -> SignInRow | None:
    """Find the sign-in that a session began with; None for a session of another token."""
    token = sa.select(sessions.c.token_id).where(sessions.c.id == session_id).scalar_subquery()
    query = _select_live().where(sign_ins.c.token_id == token, sign_ins.c.machine == "")
    return fetch_one(conn, query, SignInRow)


def add_attempt(
    conn: sa.Connection, *, state_hash: str, provider: str, next_path: str, device_id: int | None, for_us: int
) -> None:
    """Insert a browser that is sent to a provider, and forget those that did not come back."""
    conn.execute(sa.delete(sign_in_attempts).where(sign_in_attempts.c.expires_at < now_us()))
    conn.execute(
        sa.insert(sign_in_attempts).values(
            state_hash=state_hash, provider=provider, next=next_path, device_id=device_id, expires_at=now_us() + for_us
        )
    )


def take_attempt(conn: sa.Connection, *, state_hash: str, provider: str) -> SignInAttemptRow | None:
    """Take the attempt that a browser comes back with, which it does once; None if there is none."""
    taken = (
        sa.delete(sign_in_attempts)
        .where(
            sign_in_attempts.c.state_hash == state_hash,
            sign_in_attempts.c.provider == provider,
            sign_in_attempts.c.expires_at > now_us(),
        )
        .returning(
            sign_in_attempts.c.id, sign_in_attempts.c.provider, sign_in_attempts.c.next, sign_in_attempts.c.device_id
        )
    )
    row = conn.execute(taken).first()
    return None if row is None else SignInAttemptRow(*row)


def note_logout_token(conn: sa.Connection, *, issuer: str, jti: str, for_us: int) -> bool:
    """Note a logout token; return False if it has come before."""
    conn.execute(sa.delete(logout_tokens).where(logout_tokens.c.expires_at < now_us()))
    try:
        with conn.begin_nested():
            conn.execute(sa.insert(logout_tokens).values(issuer=issuer, jti=jti, expires_at=now_us() + for_us))
    except IntegrityError:
        return False
    return True


def _select_live() -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(
            sign_ins.c.id,
            sign_ins.c.identity_id,
            sign_ins.c.token_id,
            sign_ins.c.provider,
            sign_ins.c.machine,
            sign_ins.c.refresh,
            identities.c.issuer,
            identities.c.subject,
            identities.c.principal_id,
            principals.c.name.label("principal"),
            sign_ins.c.created_at,
            sign_ins.c.checked_at,
            sign_ins.c.ends_at,
            tokens.c.last_used_at,
        )
        .join(identities, identities.c.id == sign_ins.c.identity_id)
        .join(tokens, tokens.c.id == sign_ins.c.token_id)
        .join(principals, principals.c.id == tokens.c.principal_id)
        .where(
            tokens.c.revoked_at.is_(None),
            principals.c.disabled_at.is_(None),
            sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now_us()),
        )
    )
