"""Tokens that there are: who sees which, renewing one's own, and revoking them."""

import sqlalchemy as sa

from deltareg.db.access import owners as owner_queries
from deltareg.db.access import principals as queries
from deltareg.db.access.rows import TokenRow
from deltareg.db.access.sign_ins import live_sign_ins
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import Conflict, InvalidInput, NotFound
from deltareg.service.access.giving import cannot_give
from deltareg.service.access.making import own_owners
from deltareg.service.access.tokens import describe_token, hash_secret, mint_secret
from deltareg.service.authority.grants import Right, implies
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry, needs_token
from deltareg.wire import Page, TokenCreated, TokenInfo, TokenRenew

OVERLAP_US = 3600 * US_PER_S
"""For how long a renewed token stays valid: jobs that run finish with it."""
_MAKE = "make another one: deltareg token create --for YOU"


def list_tokens(registry: Registry, caller: Caller, *, cursor: str | None, limit: int) -> Page[TokenInfo]:
    """List tokens without their secrets, newest first: all for an admin.

    Others see their own, those of accounts that are theirs, and those of service accounts that are
    limited to namespaces which they own.
    """
    if caller.is_anonymous:
        raise needs_token()
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        ids, within = _in_sight(conn, caller)
        rows = queries.token_rows(conn, of_principals=ids, within=within, before=before, limit=check_limit(limit) + 1)
    return page(rows, limit, show=describe_token, key=lambda row: row.id)


def revoke_token(registry: Registry, caller: Caller, token_id: int) -> TokenInfo:
    """Revoke a token that the caller sees, at once; revoking it again changes nothing.

    What took its place and what was made with it for the same principal ends with it.

    Raises:
        NotFound: The caller sees no such token.
    """
    if caller.is_anonymous:
        raise needs_token()

    def transaction(conn: sa.Connection) -> TokenInfo:
        ids, within = _in_sight(conn, caller)
        rows = queries.token_rows(conn, token_id=token_id, of_principals=ids, within=within)
        if not rows:
            raise NotFound(f"there is no token {token_id}", fix="deltareg token ls")
        for each in sorted(queries.family_of(conn, token_id)):
            if queries.revoke_token(conn, each):
                info = describe_token(queries.token_rows(conn, token_id=each)[0])
                before, after = {"revoked_at": None}, {"revoked_at": info.revoked_at}
                caller.record(conn, Action.TOKEN_REVOKE, f"token/{each}", on=EVERYTHING, before=before, after=after)
        return describe_token(queries.token_rows(conn, token_id=token_id)[0])

    return with_retry(registry.engine, transaction)


def renew_token(registry: Registry, caller: Caller, request: TokenRenew) -> TokenCreated:
    """Replace the token in use by a new one that lives as long again and allows the same, or less.

    The old one stays valid for an hour at most. If the answer is lost, it is renewed once more: the
    token that nobody got ends.

    Raises:
        Conflict: It was renewed before, and the new one is in use.
        InvalidInput: It is one of those that are made anew for each job.
        Forbidden: It does not allow one of the scopes.
    """
    if caller.token_id is None:
        raise needs_token()
    own_id = caller.token_id

    def transaction(conn: sa.Connection) -> TokenCreated:
        queries.lock_principal(conn, caller.principal)
        token = queries.own_token(conn, own_id)[0]
        life_us = _life_to_renew(conn, caller, token, request)
        secret = mint_secret(token.kind)
        new_id = queries.add_token(
            conn,
            token_hash=hash_secret(secret),
            display=secret[:12],
            principal_id=caller.principal_id,
            kind=token.kind,
            scopes=request.scopes or token.scopes,
            namespaces=token.namespaces,
            note=token.note,
            created_by=caller.principal_id,
            expires_in_us=life_us,
        )
        queries.add_origin(conn, new_id, renews=token.id, made_with=queries.origin_of(conn, token.id))
        queries.end_soon(conn, token.id, in_us=OVERLAP_US)
        info = describe_token(queries.token_rows(conn, token_id=new_id)[0])
        before, after = {"token": token.id, "scopes": list(token.scopes)}, info.model_dump()
        caller.record(conn, Action.TOKEN_RENEW, f"token/{new_id}", on=EVERYTHING, before=before, after=after)
        return TokenCreated(**dict(info), token=secret)

    return with_retry(registry.engine, transaction)


def _life_to_renew(conn: sa.Connection, caller: Caller, token: TokenRow, request: TokenRenew) -> int | None:
    """Check that a token may be renewed, and return for how long it lives; None for ever."""
    if token.revoked_at is not None:
        raise Conflict(f"token {token.id} is revoked", fix=_MAKE)
    for scope in request.scopes or ():
        if not any(implies(Right(held), Right(scope)) for held in token.scopes):
            raise cannot_give(caller, Right(scope), None)
    earlier = queries.renewals_of(conn, token.id)
    used = next((row for row in earlier if row.last_used_at is not None), None)
    if used is not None:
        raise Conflict(
            f"token {token.id} was renewed, and token {used.id} has its place", fix=f"use that one, or {_MAKE}"
        )
    # A renewal shortens the old token, so the life is that of the one that nobody got.
    measured = earlier[0] if earlier else token
    life = None if measured.expires_at is None else measured.expires_at - measured.created_at
    if live_sign_ins(conn, token_id=token.id):
        raise InvalidInput("a sign-in lives as long as its provider confirms it", fix="deltareg auth login")
    if life is not None and life <= OVERLAP_US:
        raise InvalidInput("a token that lives for an hour at most is not renewed", fix="get a new one for each job")
    for row in earlier:
        queries.revoke_token(conn, row.id)
    return life


def _in_sight(conn: sa.Connection, caller: Caller) -> tuple[list[int] | None, list[str]]:
    """Return whose tokens a caller sees, None for all, and to which namespaces others may be limited."""
    if caller.may(Right.ADMIN, on=EVERYTHING):
        return None, []
    owned = owner_queries.owned_by(conn, sorted(own_owners(conn, caller)))
    named = {grant.reach.name for grant in caller.grants if isinstance(grant.reach, Namespace)}
    within = [name for name in sorted(named) if caller.may(Right.ADMIN, on=Namespace(name))]
    return [caller.principal_id, *(row.id for row in owned)], within
