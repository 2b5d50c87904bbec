"""Browser sessions: the codes that begin them, live sessions, and how they end."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from deltareg.db.access.bearers import select_live_tokens
from deltareg.db.access.session_rows import LiveSessionRow, SessionRow
from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.tables import sessions, tokens

IDLE_US: Final = 8 * 3600 * US_PER_S
_FORGOTTEN_US: Final = 7 * 86_400 * US_PER_S


def add_code(conn: sa.Connection, *, token_id: int, code_hash: str, for_us: int) -> None:
    """Insert a code that may begin one session within the given time."""
    conn.execute(
        sa.insert(sessions).values(
            token_id=token_id, code_hash=code_hash, bound_to="", browser="", expires_at=now_us() + for_us
        )
    )


def begin_by_code(
    conn: sa.Connection, code_hash: str, *, secret_hash: str, bound_to: str, browser: str, for_us: int
) -> int | None:
    """Turn a code into a session and return its row id; None if the code is not valid any more."""
    update = (
        sa.update(sessions)
        .where(sessions.c.code_hash == code_hash, sessions.c.expires_at > now_us())
        .values(
            code_hash=None,
            secret_hash=secret_hash,
            bound_to=bound_to,
            browser=browser,
            begun_at=now_us(),
            used_at=now_us(),
            expires_at=now_us() + for_us,
        )
        .returning(sessions.c.id)
    )
    session_id = conn.execute(update).scalar()
    return None if session_id is None else int(session_id)


def add_session(
    conn: sa.Connection, *, token_id: int, secret_hash: str, bound_to: str, browser: str, for_us: int
) -> int:
    """Insert a session that begins now and return its row id."""
    insert = sa.insert(sessions).values(
        token_id=token_id,
        secret_hash=secret_hash,
        bound_to=bound_to,
        browser=browser,
        begun_at=now_us(),
        used_at=now_us(),
        expires_at=now_us() + for_us,
    )
    return int(conn.execute(insert.returning(sessions.c.id)).scalar_one())


def live_session(conn: sa.Connection, secret_hash: str, *, bound_to: str) -> LiveSessionRow | None:
    """Find a session that has not ended, whose token is live, and that was used recently."""
    return _LIVE.one(conn, secret_hash=secret_hash, bound_to=bound_to)


def touch(conn: sa.Connection, session_id: int) -> None:
    """Record that a session is used now."""
    conn.execute(sa.update(sessions).where(sessions.c.id == session_id).values(used_at=now_us()))


def session_rows(conn: sa.Connection, principal_id: int, *, limit: int) -> Sequence[SessionRow]:
    """List the live sessions of a principal, newest first; unused codes are left out.

    A session ends with its token if that is earlier.
    """
    query = (
        sa.select(
            sessions.c.id,
            sessions.c.token_id,
            sessions.c.browser,
            sessions.c.begun_at,
            sessions.c.used_at,
            _ends().label("expires_at"),
            sessions.c.ended_at,
        )
        .join(tokens, tokens.c.id == sessions.c.token_id)
        .where(
            tokens.c.principal_id == principal_id,
            tokens.c.revoked_at.is_(None),
            sessions.c.begun_at.is_not(None),
            _holds(),
        )
        .order_by(sessions.c.id.desc())
        .limit(limit)
    )
    return fetch_all(conn, query, SessionRow)


def end_session(conn: sa.Connection, session_id: int, *, principal_id: int) -> bool:
    """End a session of a principal; return False if that session is not live."""
    own = sa.select(tokens.c.id).where(tokens.c.principal_id == principal_id)
    update = (
        sa.update(sessions)
        .where(
            sessions.c.id == session_id,
            sessions.c.token_id.in_(own),
            sessions.c.ended_at.is_(None),
            sessions.c.begun_at.is_not(None),
        )
        .values(ended_at=now_us())
    )
    return conn.execute(update).rowcount == 1


def forget_sessions(conn: sa.Connection) -> None:
    """Delete sessions and codes that have been unusable for a week."""
    since = now_us() - _FORGOTTEN_US
    over = sa.func.coalesce(sessions.c.ended_at, sessions.c.expires_at) < since
    conn.execute(sa.delete(sessions).where(over))


def _ends() -> sa.ColumnElement[int]:
    is_earlier = tokens.c.expires_at < sessions.c.expires_at
    return sa.case((is_earlier, tokens.c.expires_at), else_=sessions.c.expires_at)


def _holds() -> sa.ColumnElement[bool]:
    return sa.and_(
        sessions.c.ended_at.is_(None), sessions.c.expires_at > now_us(), sessions.c.used_at > now_us() - IDLE_US
    )


_LIVE: Final = PreparedQuery(
    select_live_tokens()
    .add_columns(sessions.c.id.label("session_id"), sessions.c.used_at, _ends().label("ends_at"))
    .join(sessions, sessions.c.token_id == tokens.c.id)
    .where(
        sessions.c.secret_hash == sa.bindparam("secret_hash"), sessions.c.bound_to == sa.bindparam("bound_to"), _holds()
    ),
    LiveSessionRow,
)
