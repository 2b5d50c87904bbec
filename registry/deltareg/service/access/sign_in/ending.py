"""How sign-ins end: by their owner, by a provider that does not confirm them, or that says so itself."""

import sqlalchemy as sa

from deltareg.db.access import principals as principal_queries
from deltareg.db.access import sign_ins as queries
from deltareg.db.access.sign_in_rows import SignInRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import NotFound, Unauthenticated
from deltareg.oidc.times import LOGOUT_AGE_S, SKEW_S
from deltareg.service.access.groups import follow_provider
from deltareg.service.access.sign_in.providers import find_provider
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.events import Action, record_event
from deltareg.service.registry import Caller, Registry, needs_token
from deltareg.wire.sign_in import SignInInfo

REGISTRY = "the registry"


def end_unconfirmed(conn: sa.Connection, row: SignInRow, *, why: str, is_known: bool) -> None:
    """End a sign-in that its provider does not confirm, and what the provider said of its person's groups.

    The groups stay while another sign-in of theirs goes on, which the provider is asked about as well; unless
    it does know the person, and the registry lets them in no more.

    Args:
        conn: A transaction.
        row: The sign-in.
        why: What the provider said.
        is_known: Whether the provider knows the person.
    """
    _end(conn, row, actor=REGISTRY, why=why)
    others = queries.live_sign_ins(conn, principal_id=row.principal_id)
    if is_known or all(each.provider != row.provider for each in others):
        follow_provider(conn, row.principal_id, source=row.provider, groups=())


def end_own_sign_in(registry: Registry, caller: Caller, sign_in_id: int | None = None) -> None:
    """End a sign-in of the caller: one of theirs, or the one that the request came with.

    Raises:
        NotFound: The caller has no such sign-in.
    """
    if caller.token_id is None:
        raise needs_token()

    def transaction(conn: sa.Connection) -> None:
        rows = queries.live_sign_ins(
            conn,
            principal_id=caller.principal_id,
            sign_in_id=sign_in_id,
            token_id=None if sign_in_id is not None else caller.token_id,
        )
        if not rows:
            what = "this token is not of a sign-in" if sign_in_id is None else f"you have no sign-in {sign_in_id}"
            raise NotFound(what, fix="deltareg token revoke ends other tokens")
        for row in rows:
            _end(conn, row, actor=caller.principal, why="", request_id=caller.request_id)

    with_retry(registry.engine, transaction)


def list_machines(registry: Registry, caller: Caller) -> list[SignInInfo]:
    """List the command lines that the caller is signed in on, newest first."""
    with read(registry.engine) as conn:
        rows = queries.live_sign_ins(conn, principal_id=caller.principal_id)
    return [_show(row) for row in rows if row.machine]


def end_sign_in_of_session(conn: sa.Connection, session_id: int) -> None:
    """End the sign-in that a browser's session began with, if it did with one."""
    row = queries.browser_sign_in_of(conn, session_id)
    if row is not None:
        principal_queries.revoke_token(conn, row.token_id)


def log_out_by_provider(registry: Registry, name: str, token: str) -> int:
    """End what a provider's logout token names; return how many sign-ins that were.

    What began after the token was made goes on, so an old one ends nothing that it was not about.

    Raises:
        NotFound: There is no such provider.
        Unauthenticated: The token does not hold, or has come before.
        Unavailable: The provider's keys cannot be had.
    """
    provider = find_provider(registry, name)
    said = provider.read_logout(token)
    issuer = provider.settings.issuer

    def transaction(conn: sa.Connection) -> int:
        for_us = (LOGOUT_AGE_S + 2 * SKEW_S) * US_PER_S
        if not queries.note_logout_token(conn, issuer=issuer, jti=said.jti, for_us=for_us):
            raise Unauthenticated("this logout token has come before", fix="send a new one")
        until_us = (said.issued_s + SKEW_S) * US_PER_S
        rows = queries.named_sign_ins(conn, issuer=issuer, subject=said.subject, sid=said.sid, until_us=until_us)
        for row in rows:
            _end(conn, row, actor=REGISTRY, why=f"logged out at {name}")
        return len(rows)

    return with_retry(registry.engine, transaction)


def _end(conn: sa.Connection, row: SignInRow, *, actor: str, why: str, request_id: str = "") -> None:
    if not principal_queries.revoke_token(conn, row.token_id):
        return
    record_event(
        conn,
        Action.SESSION_END,
        f"token/{row.token_id}",
        on=EVERYTHING,
        before=None,
        after={"principal": row.principal, "provider": row.provider, "machine": row.machine, "why": why},
        actor=actor,
        token_id=row.token_id,
        request_id=request_id,
    )


def _show(row: SignInRow) -> SignInInfo:
    return SignInInfo(
        id=row.id,
        provider=row.provider,
        machine=row.machine,
        begun_at=rfc3339(row.created_at),
        used_at=rfc3339_or_none(row.last_used_at),
        expires_at=rfc3339(row.ends_at),
    )
