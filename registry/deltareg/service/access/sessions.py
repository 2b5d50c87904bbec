"""Sessions of the pages: who is logged in with a browser.

A session stands for a token: it allows what the token allows at the moment of use, and ends with
it. The browser holds the session's secret in a cookie; the database holds only its hash. A session
begins with a token that somebody pasted, or with a code that is valid once and for a minute, so
that no token ever appears in an address.
"""

import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.access import sessions as queries
from deltareg.db.access.principals import touch_token
from deltareg.db.access.session_rows import LiveSessionRow, SessionRow
from deltareg.db.session import glance, read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import Forbidden, NotFound, Unauthenticated
from deltareg.service.access.sign_in.ending import end_sign_in_of_session
from deltareg.service.access.tokens import authenticate, caller_with, hash_secret
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry, needs_token
from deltareg.wire import Page, SessionInfo, SessionOpened

LONGEST_S = 24 * 3600
_CODE_S = 60
_SOON_US = 3600 * US_PER_S
_TOUCH_US = 60 * US_PER_S
_SECRET_BYTES = 32
_BROWSER_MOST = 160
_LISTED = 100
_AGAIN = "run `deltareg open` again, or paste a token"


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is logged in.

    Attributes:
        id: The session's row.
        caller: Who it is, and what the token behind it allows.
        ends_us: When it ends at the latest, in µs since the epoch.
        seen_us: When the session was read, in µs since the epoch.
    """

    id: int
    caller: Caller
    ends_us: int
    seen_us: int

    @property
    def ends_soon(self) -> str:
        """Return when the session ends, if that is within the hour; empty otherwise."""
        return rfc3339(self.ends_us) if self.ends_us - self.seen_us < _SOON_US else ""


def open_session(registry: Registry, caller: Caller) -> SessionOpened:
    """Create a code with which a browser may log in as the caller, once and soon.

    Raises:
        Forbidden: The caller is a worker, which has no use for the pages.
    """
    if caller.token_id is None:
        raise needs_token()
    if caller.is_worker:
        raise Forbidden("a worker does not log in with a browser", fix="use a token of a person")
    code, token_id = secrets.token_urlsafe(_SECRET_BYTES), caller.token_id

    def transaction(conn: sa.Connection) -> None:
        queries.forget_sessions(conn)
        queries.add_code(conn, token_id=token_id, code_hash=hash_secret(code), for_us=_CODE_S * US_PER_S)

    with_retry(registry.engine, transaction)
    return SessionOpened(code=code, expires_in_s=_CODE_S)


def begin_by_code(registry: Registry, code: str, *, bound_to: str, browser: str, request_id: str) -> str:
    """Log a browser in with a code; return the secret of the session, which is shown only here.

    Args:
        registry: The database and the store.
        code: The code that `open_session` returned.
        bound_to: The server start that the session ends with; empty for none.
        browser: The browser's description of itself, shown in its owner's list.
        request_id: The id of the request.

    Raises:
        Unauthenticated: The code was used, has expired, or never existed.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)

    def transaction(conn: sa.Connection) -> None:
        session_id = queries.begin_by_code(
            conn,
            hash_secret(code),
            secret_hash=hash_secret(secret),
            bound_to=bound_to,
            browser=browser[:_BROWSER_MOST],
            for_us=LONGEST_S * US_PER_S,
        )
        row = queries.live_session(conn, hash_secret(secret), bound_to=bound_to)
        if session_id is None or row is None:
            raise Unauthenticated("this code was used before, or is too old", fix=_AGAIN)
        caller = caller_with(registry, conn, row, request_id)
        _note(conn, caller, Action.SESSION_BEGIN, session_id, {"browser": browser[:_BROWSER_MOST]})

    with_retry(registry.engine, transaction)
    return secret


def begin_by_token(registry: Registry, token: str, *, bound_to: str, browser: str, request_id: str) -> str:
    """Log a browser in with a token; return the secret of the session, which is shown only here.

    Raises:
        Unauthenticated: The token is nobody's.
        Forbidden: The token is a worker's.
    """
    caller = authenticate(registry, token, request_id=request_id)
    if caller.is_worker or caller.token_id is None:
        raise Forbidden("a worker does not log in with a browser", fix="paste a token of a person")
    secret, token_id = secrets.token_urlsafe(_SECRET_BYTES), caller.token_id

    def transaction(conn: sa.Connection) -> None:
        queries.forget_sessions(conn)
        session_id = queries.add_session(
            conn,
            token_id=token_id,
            secret_hash=hash_secret(secret),
            bound_to=bound_to,
            browser=browser[:_BROWSER_MOST],
            for_us=LONGEST_S * US_PER_S,
        )
        _note(conn, caller, Action.SESSION_BEGIN, session_id, {"browser": browser[:_BROWSER_MOST]})

    with_retry(registry.engine, transaction)
    return secret


def find_session(registry: Registry, secret: str, *, bound_to: str, request_id: str) -> Session:
    """Find the session of a browser.

    Raises:
        Unauthenticated: The session has ended or never existed, or its token is no longer valid.
    """
    secret_hash = hash_secret(secret)
    with glance(registry.engine) as conn:
        row = queries.live_session(conn, secret_hash, bound_to=bound_to)
        if row is None:
            raise Unauthenticated("you are not logged in any more", fix=_AGAIN)
        caller = caller_with(registry, conn, row, request_id)
    if row.now - row.used_at > _TOUCH_US:
        with_retry(registry.engine, lambda conn: _touch(conn, row))
    return _session(row, caller)


def list_sessions(registry: Registry, caller: Caller) -> Page[SessionInfo]:
    """List the browsers in which the caller is logged in, newest first."""
    if caller.token_id is None:
        raise needs_token()
    with read(registry.engine) as conn:
        rows = queries.session_rows(conn, caller.principal_id, limit=_LISTED)
    return Page(items=[_show(row) for row in rows])


def end_session(registry: Registry, caller: Caller, session_id: int) -> None:
    """End a session of the caller: this one or another.

    Raises:
        NotFound: The caller has no live session with that number.
    """

    def transaction(conn: sa.Connection) -> None:
        if not queries.end_session(conn, session_id, principal_id=caller.principal_id):
            raise NotFound(f"you have no session {session_id}")
        end_sign_in_of_session(conn, session_id)
        _note(conn, caller, Action.SESSION_END, session_id, None)

    with_retry(registry.engine, transaction)


def _note(conn: sa.Connection, caller: Caller, action: Action, session_id: int, after: object) -> None:
    subject = f"session/{session_id}"
    caller.record(conn, action, subject, on=EVERYTHING, before=None, after=after)


def _session(row: LiveSessionRow, caller: Caller) -> Session:
    return Session(row.session_id, caller, row.ends_at, row.now)


def _touch(conn: sa.Connection, row: LiveSessionRow) -> None:
    """Record the use of a session and of the token that it stands for."""
    queries.touch(conn, row.session_id)
    touch_token(conn, row.id)


def _show(row: SessionRow) -> SessionInfo:
    return SessionInfo(
        id=row.id,
        token_id=row.token_id,
        browser=row.browser,
        begun_at=rfc3339(row.begun_at),
        used_at=rfc3339(row.used_at),
        expires_at=rfc3339(row.expires_at),
    )
