"""The exchange (RFC 8693): an assertion of an issuer for a token of a service account, once."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.access import principals as principal_queries
from deltareg.db.access import trusts as queries
from deltareg.db.access.grants import holdings_of
from deltareg.db.access.trust_rows import TrustRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S, read_clock
from deltareg.errors import AssertionRefused
from deltareg.service.access.exchange.assertions import SKEW_S, Assertion, read_assertion, verify_assertion
from deltareg.service.access.exchange.providers import PROVIDERS
from deltareg.service.access.tokens import hash_secret, mint_secret
from deltareg.service.authority.caller_grants import grants_within, read_holdings
from deltareg.service.authority.decide import AccessDecision, decide_cached
from deltareg.service.authority.grants import SCOPES, Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.events import Action, record_event
from deltareg.service.registry import Registry
from deltareg.service.workflow import LONGEST
from deltareg.wire import Scope, TokenExchanged

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
SUBJECT_TYPES = ("urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt")
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # a type, no secret
LASTS_S = 900
"""How long the token lasts, seconds."""
_KIND = "ci"
_MOST_WHYS = 3
_SHOW = "deltareg trust ls NS shows what is accepted"


@dataclass(frozen=True, slots=True)
class ExchangeRequest:
    """What a workflow asks for.

    Attributes:
        assertion: What its CI says of it, signed.
        scopes: What it wants the token for; empty for all that there is.
        trust: The number of the trust that it means; None for the one that says most.
    """

    assertion: str
    scopes: Sequence[str] = ()
    trust: int | None = None


def exchange(registry: Registry, request: ExchangeRequest, *, request_id: str) -> TokenExchanged:
    """Give a token for an assertion that a trust accepts: once, for a quarter of an hour.

    It allows what the trust says, as far as its account and who made the trust hold that now.

    Raises:
        AssertionRefused: It is not signed, not valid now, used before, or no trust accepts it.
        Unavailable: The issuer does not give its keys.
    """
    unverified = read_assertion(request.assertion)
    with read(registry.engine) as conn:
        now_s = read_clock(conn) // US_PER_S
        rows = queries.trusts_of_issuer(conn, unverified.issuer)
    if not rows or unverified.issuer not in registry.issuers.listed:  # no keys are asked for in vain
        raise AssertionRefused(f"no trust here is in the issuer {unverified.issuer[:200]!r}", fix=_SHOW)
    key = registry.issuers.key(unverified.issuer, unverified.keyid)
    assertion = verify_assertion(unverified, key, now_s=now_s)
    trust = _choose(rows, assertion, request)
    return with_retry(registry.engine, lambda conn: _mint(conn, trust.id, assertion, request, request_id=request_id))


def _choose(rows: Sequence[TrustRow], assertion: Assertion, request: ExchangeRequest) -> TrustRow:
    """Return the trust that accepts an assertion: of several, the one with the most conditions.

    Raises:
        AssertionRefused: None does, or it is not clear which is meant.
    """
    fitting: list[TrustRow] = []
    whys: list[str] = []
    for row in rows:
        if request.trust not in {None, row.id} or not set(request.scopes) <= set(row.scopes):
            continue
        why = PROVIDERS[row.provider].misfit(row.conditions, assertion.claims, issuer=row.issuer)
        if why is None and assertion.audience != row.audience:
            why = f"the trust is for the audience {row.audience}, and this is for {assertion.audience[:200]!r}"
        if why is None:
            fitting.append(row)
        elif why:
            whys.append(f"trust {row.id}: {why}")
    most = max((len(row.conditions) for row in fitting), default=0)
    best = [row for row in fitting if len(row.conditions) == most]
    if len(best) == 1:
        return best[0]
    if best:
        numbers = ", ".join(str(row.id) for row in best)
        raise AssertionRefused(f"the trusts {numbers} accept this alike", fix="name one: DELTAREG_TRUST=NUMBER")
    raise AssertionRefused("; ".join(whys[:_MOST_WHYS]) or _nobody(assertion, request), fix=_SHOW)


def _nobody(assertion: Assertion, request: ExchangeRequest) -> str:
    asked = f" for {' and '.join(request.scopes)}"[:80] if request.scopes else ""
    return f"no trust here accepts this of {assertion.issuer}{asked}"


def _mint(
    conn: sa.Connection, trust_id: int, assertion: Assertion, request: ExchangeRequest, *, request_id: str
) -> TokenExchanged:
    """Use an assertion up and insert its token, in one transaction."""
    trust = queries.trust_row(conn, trust_id, lock=True)
    if trust is None:
        raise AssertionRefused("the trust was ended just now", fix=_SHOW)
    if trust.disabled_at is not None or trust.maker_disabled_at is not None:
        gone = trust.principal if trust.disabled_at is not None else trust.maker
        raise AssertionRefused(
            f"{gone} was disabled, and trust {trust.id} with it", fix=f"an owner of {trust.namespace} makes another"
        )
    wanted = [scope for scope in trust.scopes if not request.scopes or scope in {"read", *request.scopes}]
    held = _read_held(conn, trust, trust.principal_id) & _read_held(conn, trust, trust.maker_id)
    scopes = [scope for scope in wanted if scope in held]
    if not scopes or (request.scopes and not set(request.scopes) <= held):
        raise AssertionRefused(
            f"{trust.principal}, or {trust.maker} who made trust {trust.id}, no longer holds {' and '.join(wanted)}"
            f" in {trust.namespace}",
            fix=f"an owner of {trust.namespace}: deltareg member ls {trust.namespace}",
            reason="invalid_scope",
        )
    if not queries.use_assertion(
        conn, assertion.digest, trust_id=trust.id, expires_at=(assertion.expires_at + SKEW_S) * US_PER_S
    ):
        raise AssertionRefused("the assertion was used before", fix="ask the CI for a new one", reason="invalid_grant")
    secret = mint_secret(_KIND)
    claims = _claims_of(trust, assertion)
    token_id = principal_queries.add_token(
        conn,
        token_hash=hash_secret(secret),
        display=secret[:12],
        principal_id=trust.principal_id,
        kind=_KIND,
        scopes=scopes,
        namespaces=[trust.namespace],
        note=f"by trust {trust.id}",
        created_by=trust.maker_id,
        expires_in_us=LASTS_S * US_PER_S,
        claims=claims,
        trust_id=trust.id,
    )
    record_event(
        conn,
        Action.TOKEN_EXCHANGE,
        f"token/{token_id}",
        on=Namespace(trust.namespace),
        before=None,
        after={"principal": trust.principal, "scopes": scopes, "trust": trust.id, "claims": claims},
        actor=trust.principal,
        token_id=token_id,
        request_id=request_id,
    )
    return TokenExchanged(
        access_token=secret,
        issued_token_type=ACCESS_TOKEN,
        token_type="Bearer",  # noqa: S106  # a type, no secret
        expires_in=LASTS_S,
        scope=" ".join(scopes),
        principal=trust.principal,
        namespace=trust.namespace,
        trust=trust.id,
    )


def _read_held(conn: sa.Connection, trust: TrustRow, principal_id: int) -> frozenset[Scope]:
    """Return which scopes of a trust a principal holds in its namespace at this moment."""
    holdings = read_holdings(holdings_of(conn, principal_id))
    grants = grants_within(SCOPES, holdings, frozenset({trust.namespace}))
    on = Namespace(trust.namespace)
    return frozenset(
        scope for scope in trust.scopes if decide_cached(grants, Right(scope), on) is AccessDecision.ALLOWED
    )


def _claims_of(trust: TrustRow, assertion: Assertion) -> dict[str, object]:
    """Return what is kept of the claims: short texts that name the workflow, printable whatever they hold."""
    facts = PROVIDERS[trust.provider].workflow(assertion.claims)
    texts = {key: value[:LONGEST] for key, value in facts.items() if isinstance(value, str) and value}
    shown = {key: "".join(c if c.isprintable() else "?" for c in value) for key, value in texts.items()}
    return {"provider": trust.provider, "issuer": trust.issuer, **shown}
