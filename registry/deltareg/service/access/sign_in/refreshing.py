"""Asking providers whether sign-ins still hold, and what the groups of their people are now.

A group of a provider counts as long as the provider stands for it: whom it does not confirm, and who is not
signed in with it elsewhere, is in none of its groups from then on, with any token. Where nobody asks, because
all sign-ins have ended by themselves, its word counts for thirty days more.
"""

import logging
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from deltareg.db.access import identities as identity_queries
from deltareg.db.access import sign_ins as queries
from deltareg.db.access.sign_in_rows import SignInRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import Forbidden, Misconfigured, Unauthenticated, Unavailable
from deltareg.service.access.groups import follow_provider
from deltareg.service.access.sign_in.beginning import SEALED_FOR, UNCONFIRMED_S
from deltareg.service.access.sign_in.ending import end_unconfirmed
from deltareg.service.access.sign_in.people import take_groups
from deltareg.service.registry import Registry

if TYPE_CHECKING:
    from deltareg.oidc.provider import Provider, ProviderAnswer

log = logging.getLogger(__name__)

CHECKED_S = 300
"""How long a sign-in that is used goes without being confirmed: what a change at the provider takes."""
_ANYWAY_S = 12 * 3600
_AT_ONCE = 50


def refresh_due(registry: Registry, *, checked_s: float = CHECKED_S) -> int:
    """Ask about every sign-in that is due; return how many were asked about.

    Servers beside each other share the work. Where a provider does not answer, its sign-ins go on
    until they end by themselves.
    """
    with read(registry.engine) as conn:
        rows = queries.due_sign_ins(
            conn, used_us=round(checked_s * US_PER_S), anyway_us=_ANYWAY_S * US_PER_S, limit=_AT_ONCE
        )
    away: set[str] = set()
    asked = 0
    for row in rows:
        if row.provider in away or not with_retry(registry.engine, partial(queries.hold_sign_in, row=row)):
            continue
        asked += 1
        try:
            _refresh(registry, row)
        except (Unavailable, Misconfigured) as error:
            away.add(row.provider)
            log.warning("sign-ins are not confirmed, and go on: %s", error.message)
    return asked


def _refresh(registry: Registry, row: SignInRow) -> None:
    provider = next((each for each in registry.providers if each.name == row.provider), None)
    if provider is None or provider.settings.issuer != row.issuer:
        _end(registry, row, why="its provider is not one of this registry any more")
        return
    assert row.refresh is not None
    if registry.box is None:
        raise Misconfigured("there is no key to read refresh tokens with", fix="set DELTAREG_WEBHOOK_KEY")
    try:
        answer = provider.refresh(registry.box.open(row.refresh, SEALED_FOR), subject=row.subject)
    except Unauthenticated as error:
        _end(registry, row, why=error.message)
    except Forbidden as error:  # the provider knows them, and they may not come in any more
        _end(registry, row, why=error.message, is_known=True)
    else:
        _confirm(registry, provider, row, answer)


def end_lapsed_groups(registry: Registry) -> int:
    """Take people out of groups that no provider stands for any more; return how many memberships of one's ended."""
    issuers = {provider.name: provider.settings.issuer for provider in registry.providers}
    if not issuers:
        return 0
    with read(registry.engine) as conn:
        lapsed = queries.lapsed_members(conn, issuers=issuers)
    for member_id, source in lapsed:
        with_retry(registry.engine, partial(follow_provider, member_id=member_id, source=source, groups=()))
    return len(lapsed)


def _end(registry: Registry, row: SignInRow, *, why: str, is_known: bool = False) -> None:
    with_retry(registry.engine, partial(end_unconfirmed, row=row, why=why, is_known=is_known))


def _confirm(registry: Registry, provider: "Provider", row: SignInRow, answer: "ProviderAnswer") -> None:
    assert registry.box is not None
    assert answer.refresh_token is not None  # the one before, where there is no new one
    sealed = registry.box.seal(answer.refresh_token, SEALED_FOR)

    def transaction(conn: sa.Connection) -> None:
        queries.confirm_sign_in(conn, row, refresh=sealed, for_us=UNCONFIRMED_S * US_PER_S)
        identity = identity_queries.identity_row(conn, row.identity_id)
        if identity is not None and identity.principal_id == row.principal_id:  # not linked meanwhile
            take_groups(conn, provider, row.principal_id, answer.claims)
            identity_queries.set_email(conn, row.identity_id, answer.claims.email)

    with_retry(registry.engine, transaction)
