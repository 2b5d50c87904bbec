"""Signing in: a browser is sent to a provider, comes back once, and is known from then on.

The browser holds a secret in a cookie; state, PKCE verifier and nonce are made of it, so that what
comes back is good only in the browser that was sent (RFC 9700, 4.7), and the database holds nothing
that a code could be redeemed with.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from deltareg.db.access import device_requests as device_queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.access import sessions as session_queries
from deltareg.db.access import sign_ins as queries
from deltareg.db.access.sign_in_rows import IdentityRow, SignInAttemptRow
from deltareg.db.session import with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import Unauthenticated
from deltareg.service.access.sign_in.people import person_of, take_groups
from deltareg.service.access.sign_in.providers import find_provider
from deltareg.service.access.tokens import hash_secret, mint_secret
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.events import Action, record_event
from deltareg.service.registry import Registry
from deltareg.wire import Scope

if TYPE_CHECKING:
    from deltareg.oidc.provider import Provider, ProviderAnswer

ATTEMPT_S = 600
UNCONFIRMED_S = 24 * 3600
"""How long a sign-in lasts that its provider does not confirm anew, as when it does not answer."""
UNREFRESHED_S = 3600
"""How long one lasts that the provider gives no refresh token for."""
BROWSER_S = 24 * 3600
MACHINE_S = 30 * 24 * 3600
SCOPES: tuple[Scope, ...] = ("read", "push", "promote", "approve", "serve", "admin")
"""What a sign-in is for, within the roles of who signs in: the glass is broken with a token made for that."""
SEALED_FOR = "sign-in"
_SECRET_BYTES = 32
_BROWSER_MOST = 160
_AGAIN = "sign in again, and leave this window open meanwhile"


@dataclass(frozen=True, slots=True)
class SentAway:
    """Where a browser is sent, and the secret that it comes back with."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A browser that came back.

    Attributes:
        principal: Who it is.
        secret: The secret of its session; None if it signed in for a command line.
        next: Where it wanted to go.
        machine: The machine of that command line; empty for the browser itself.
    """

    principal: str
    secret: str | None = field(repr=False)
    next: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComingBack:
    """What a browser comes back with.

    Attributes:
        secret: The secret of its cookie.
        state: What the provider was to hand back.
        code: What the provider gives for an ID token.
        issuer: Who the answer says it is from; None if it does not say.
        redirect_uri: The address it came back to.
        browser: The browser's description of itself.
        bound_to: The server start that the session ends with; empty for none.
        request_id: The id of the request.
    """

    secret: str = field(repr=False)
    state: str
    code: str = field(repr=False)
    issuer: str | None
    redirect_uri: str
    browser: str
    bound_to: str
    request_id: str


def send_away(
    registry: Registry, name: str, *, redirect_uri: str, next_path: str, device_code_hash: str | None = None
) -> SentAway:
    """Let a browser sign in with a provider.

    Args:
        registry: The registry.
        name: The provider's name.
        redirect_uri: Where it is to come back to.
        next_path: Where it goes after that.
        device_code_hash: The command line that it signs in for; None for itself.

    Raises:
        NotFound: There is no such provider.
        Unauthenticated: The command line does not wait any more.
        Unavailable: The provider does not answer.
    """
    provider = find_provider(registry, name)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    state = _derive(secret, "state")
    url = provider.authorization_url(
        redirect_uri=redirect_uri, state=state, verifier=_derive(secret, "verifier"), nonce=_derive(secret, "nonce")
    )

    def transaction(conn: sa.Connection) -> None:
        device_id = None
        if device_code_hash is not None:
            device = device_queries.device_by_code(conn, device_code_hash)
            if device is None:
                raise Unauthenticated("that code is not waited for any more", fix="run deltareg auth login again")
            device_id = device.id
        queries.add_attempt(
            conn,
            state_hash=hash_secret(state),
            provider=name,
            next_path=next_path,
            device_id=device_id,
            for_us=ATTEMPT_S * US_PER_S,
        )

    with_retry(registry.engine, transaction)
    return SentAway(url, secret)


def come_back(registry: Registry, name: str, back: ComingBack) -> SignedIn:
    """Sign in who comes back from a provider.

    Raises:
        Unauthenticated: This browser was not sent, came back before, or the provider's word does not hold.
        Forbidden: The registry does not let them in.
        Unavailable: The provider does not answer.
    """
    provider = find_provider(registry, name)
    if (
        not back.code
        or not back.secret
        or not hmac.compare_digest(_derive(back.secret, "state").encode(), back.state.encode())
    ):
        raise Unauthenticated("this browser was not sent to sign in, or another window was since", fix=_AGAIN)
    attempt = with_retry(
        registry.engine, lambda conn: queries.take_attempt(conn, state_hash=hash_secret(back.state), provider=name)
    )
    if attempt is None:
        raise Unauthenticated("this sign-in was used before, or is too old", fix=_AGAIN)
    provider.check_sender(back.issuer)
    answer = provider.redeem(
        back.code,
        redirect_uri=back.redirect_uri,
        verifier=_derive(back.secret, "verifier"),
        nonce=_derive(back.secret, "nonce"),
    )
    return with_retry(registry.engine, lambda conn: _sign_in(registry, conn, provider, answer, attempt, back))


def take_back(registry: Registry, name: str, *, secret: str, state: str) -> None:
    """Forget an attempt that the provider refused, if it was this browser's."""
    if secret and hmac.compare_digest(_derive(secret, "state").encode(), state.encode()):
        with_retry(
            registry.engine, lambda conn: queries.take_attempt(conn, state_hash=hash_secret(state), provider=name)
        )


def _sign_in(
    registry: Registry,
    conn: sa.Connection,
    provider: "Provider",
    answer: "ProviderAnswer",
    attempt: SignInAttemptRow,
    back: ComingBack,
) -> SignedIn:
    queries.forget_sign_ins(conn)
    person = person_of(conn, answer.claims)
    take_groups(conn, provider, person.principal_id, answer.claims)
    if attempt.device_id is None:
        token_id = _add(registry, conn, provider, answer, person, machine="")
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        session_queries.forget_sessions(conn)
        session_queries.add_session(
            conn,
            token_id=token_id,
            secret_hash=hash_secret(secret),
            bound_to=back.bound_to,
            browser=back.browser[:_BROWSER_MOST],
            for_us=BROWSER_S * US_PER_S,
        )
        where = {"browser": back.browser[:_BROWSER_MOST]}
        signed_in = SignedIn(person.principal, secret, next=attempt.next)
    else:
        device = device_queries.device_row(conn, attempt.device_id)
        if device is None:
            raise Unauthenticated("the command line does not wait any more", fix="run deltareg auth login again")
        token_id = _add(registry, conn, provider, answer, person, machine=device.machine)
        device_queries.grant_device(conn, device.id, token_id=token_id)
        where = {"machine": device.machine, "address": device.address}
        signed_in = SignedIn(person.principal, None, machine=device.machine)
    after = {"provider": provider.name, "subject": person.subject, **where}
    record_event(
        conn,
        Action.SESSION_BEGIN,
        f"token/{token_id}",
        on=EVERYTHING,
        before=None,
        after=after,
        actor=person.principal,
        token_id=token_id,
        request_id=back.request_id,
    )
    return signed_in


def _add(
    registry: Registry,
    conn: sa.Connection,
    provider: "Provider",
    answer: "ProviderAnswer",
    person: IdentityRow,
    *,
    machine: str,
) -> int:
    """Insert a token and the sign-in that keeps it alive; nobody knows the token's secret yet."""
    longest_s = MACHINE_S if machine else BROWSER_S
    refresh = None
    if answer.refresh_token is not None and registry.box is not None:
        refresh = registry.box.seal(answer.refresh_token, SEALED_FOR)
    else:
        longest_s = UNREFRESHED_S
    secret = mint_secret("pat")
    token_id = principal_queries.add_token(
        conn,
        token_hash=hash_secret(secret),
        display=secret[:12],
        principal_id=person.principal_id,
        kind="pat",
        scopes=SCOPES,
        namespaces=None,
        note=f"signed in with {provider.name}" + (f" on {machine}" if machine else ""),
        created_by=None,
        expires_in_us=min(longest_s, UNCONFIRMED_S) * US_PER_S,
    )
    queries.add_sign_in(
        conn,
        identity_id=person.id,
        token_id=token_id,
        provider=provider.name,
        sid=answer.claims.sid,
        refresh=refresh,
        machine=machine,
        for_us=longest_s * US_PER_S,
    )
    return token_id


def _derive(secret: str, purpose: str) -> str:
    return hmac.new(secret.encode(), f"deltareg {purpose}".encode(), hashlib.sha256).hexdigest()
