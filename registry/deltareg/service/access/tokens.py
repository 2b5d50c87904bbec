"""Tokens: random, shown once, hashed at rest, made for a named principal."""

import hashlib
import secrets
import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import sqlalchemy as sa

from deltareg.db.access import principals as queries
from deltareg.db.access.bearers import live_token
from deltareg.db.access.rows import LiveTokenRow, TokenRow
from deltareg.db.session import glance, read, with_retry, write
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import NotFound, Unauthenticated, Unavailable
from deltareg.refs import parse_name
from deltareg.service.access.giving import check_limits, give_scopes, name_person
from deltareg.service.authority.grants import SCOPES, WORKER, Grant, PublicNamespaces, Right, grants_of, scopes_for
from deltareg.service.authority.held import grants_of_token, read_holdings
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import ANONYMOUS, Caller, Registry, needs_token
from deltareg.wire import Page, Scope, TokenCreate, TokenCreated, TokenInfo, TokenKind, WhoAmI

F = TypeVar("F")
T = TypeVar("T")

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43  # 62**43 > 2**256
_CHECK_LENGTH = 6
_TOUCH_US = 60 * US_PER_S
_LOGIN = "run `deltareg auth login`, or set DELTAREG_TOKEN"
_KINDS = {"pat": "user", "ci": "service", "wrk": "worker"}


def mint_secret(kind: str, *, choose: Callable[[str], str] = secrets.choice) -> str:
    """Make a token: `drg_<kind>_<43 base62>_<6 base62 of a CRC32>`.

    The check digits let a secret scanner tell a token from a string that looks like one.
    """
    body = "".join(choose(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return f"drg_{kind}_{body}_{_check_digits(kind, body)}"


def hash_secret(token: str) -> str:
    """Hash a token for keeping; 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def authenticate(registry: Registry, token: str, *, request_id: str) -> Caller:
    """Find whose token this is.

    Raises:
        Unauthenticated: Nobody's, or it is revoked or expired; the answer does not say which.
    """
    return answer_to(
        registry,
        token,
        lambda conn, token_hash: (live_token(conn, token_hash), None),
        lambda _conn, caller, _nothing: caller,
        request_id=request_id,
    )


def answer_to(
    registry: Registry,
    token: str,
    look: Callable[[sa.Connection, str], tuple[LiveTokenRow | None, F]],
    act: Callable[[sa.Connection, Caller, F], T],
    *,
    request_id: str,
) -> T:
    """Find whose token this is with what they ask for, and then answer them.

    All that is read has to be one statement, or not to depend on the order of its statements: each
    sees what was committed before it began (`db.session.glance`).

    Args:
        registry: Where to look.
        token: What came with the request.
        look: Finds a token by its hash, and what is asked for beside it. What it finds without a
            token is told nobody.
        act: Makes the answer of what was found, for a caller whose rights it has to ask for.
        request_id: The request's.

    Raises:
        Unauthenticated: As `authenticate`.
    """
    _check_form(token)
    token_hash = hash_secret(token)
    with glance(registry.engine) as conn:
        row, found = look(conn, token_hash)
        held = _require_live(row)
        if held.last_used_at is not None and held.now - held.last_used_at <= _TOUCH_US:
            return act(conn, caller_with(registry, conn, held, request_id), found)
    # Noted before anything else, and once in a while; then the token is looked at again.
    with_retry(registry.engine, lambda conn: queries.touch_token(conn, held.id))
    with glance(registry.engine) as conn:
        row, found = look(conn, token_hash)
        return act(conn, caller_with(registry, conn, _require_live(row), request_id), found)


def _check_form(token: str) -> None:
    parts = token.split("_")
    well_formed = len(parts) == 4 and parts[0] == "drg" and parts[1] in _KINDS
    if not well_formed or parts[3] != _check_digits(parts[1], parts[2]):
        raise Unauthenticated("this is not a token of a registry", fix=_LOGIN)


def _require_live(row: LiveTokenRow | None) -> LiveTokenRow:
    if row is None:
        raise Unauthenticated("the token is unknown, revoked or expired", fix=_LOGIN)
    return row


def caller_with(registry: Registry, conn: sa.Connection, row: LiveTokenRow, request_id: str) -> Caller:
    """Say what a token allows at this moment: its scopes, with what its principal holds."""
    limits = None if row.namespaces is None else tuple(row.namespaces)
    seen = registry.visibilities.at(conn, row.epoch)
    scopes = scopes_for(row.principal_kind, row.scopes)
    grants = grants_of_token(scopes, row.held or "", limits, seen.private)
    return Caller(row.principal, row.principal_id, row.id, grants, request_id, is_worker=row.principal_kind == WORKER)


def answer_anybody(registry: Registry, act: Callable[[sa.Connection, Caller], T], *, request_id: str) -> T:
    """Answer who has no token, of what is public."""
    with glance(registry.engine) as conn:
        public = registry.visibilities.at(conn, None).public
        grants = frozenset({Grant(Right.READ, PublicNamespaces(public))})
        return act(conn, Caller(ANONYMOUS, 0, None, grants, request_id))


def is_live(registry: Registry, header: str) -> bool:
    """Whether an `Authorization` header holds anybody's token."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        return False
    try:
        authenticate(registry, token.strip(), request_id="")
    except Unauthenticated:
        return False
    except Unavailable:  # the request itself will find out, and say so
        return True
    return True


def whoami(registry: Registry, caller: Caller) -> WhoAmI:
    """Say whose token is in use."""
    if caller.token_id is None:
        raise needs_token()
    with read(registry.engine) as conn:
        row, held = queries.own_token(conn, caller.token_id)
    return WhoAmI(
        principal=row.principal,
        kind=row.kind,
        scopes=row.scopes,
        token_id=row.id,
        expires_at=rfc3339_or_none(row.expires_at),
        namespaces=row.namespaces,
        roles=[str(holding) for holding in read_holdings(held)],
    )


def create_token(registry: Registry, caller: Caller, request: TokenCreate) -> TokenCreated:
    """Make a token for a named principal, who need not exist yet.

    It allows no more than its principal may do at each moment. With `everywhere` the principal is
    given what is missing of that, on everything; so it is where a client of the release before
    does not say.

    Raises:
        Forbidden: The caller is no admin, or would give what it lacks.
        InvalidInput: A token for some namespaces is not one for everywhere.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    name = parse_name(request.principal, "principal")
    limits = check_limits(request)
    secret = mint_secret(request.kind)
    with write(registry.engine) as conn:
        owner = queries.principal_id(conn, name)
        if owner is None:
            owner = queries.add_principal(conn, name, kind=_KINDS[request.kind])
            if request.kind != "pat":
                name_person(conn, owner, behind=caller.principal_id)
        lacking = give_scopes(
            conn, caller, owner, request.scopes, everywhere=limits is None and request.everywhere is not False
        )
        token_id = queries.add_token(
            conn,
            token_hash=hash_secret(secret),
            display=secret[:12],
            principal_id=owner,
            kind=request.kind,
            scopes=request.scopes,
            namespaces=limits,
            note=request.note,
            created_by=caller.principal_id,
            expires_in_us=request.expires_in_s * US_PER_S,
        )
        info = _show(queries.token_rows(conn, token_id=token_id)[0])
        subject = f"token/{token_id}"
        caller.record(conn, Action.TOKEN_CREATE, subject, on=EVERYTHING, before=None, after=info.model_dump())
    return TokenCreated(**dict(info), token=secret, lacking=lacking)


def bootstrap_token(
    registry: Registry,
    *,
    principal: str,
    kind: TokenKind,
    scopes: Sequence[Scope],
    secret: str | None = None,
    also_held: Sequence[Scope] = (),
    note: str = "made at start",
    expires_in_s: int | None = None,
) -> str:
    """Make a token without a caller: the first admin's, a local worker's, a lost one's on the host.

    Its principal is given all that it is for, everywhere, and what it may make a token for later
    (`also_held`). Only a process that owns the database calls this, never a route.
    """
    secret = secret or mint_secret(kind)
    with write(registry.engine) as conn:
        owner = queries.principal_id(conn, principal)
        if owner is None:
            owner = queries.add_principal(conn, principal, kind=_KINDS[kind])
        itself = Caller("registry", owner, None, grants_of(SCOPES))
        give_scopes(conn, itself, owner, [*scopes, *also_held], everywhere=True)
        expires_in_us = None if expires_in_s is None else expires_in_s * US_PER_S
        token_id = queries.add_token(
            conn,
            token_hash=hash_secret(secret),
            display=secret[:12],
            principal_id=owner,
            kind=kind,
            scopes=scopes,
            namespaces=None,
            note=note,
            created_by=None,
            expires_in_us=expires_in_us,
        )
        after = {"principal": principal, "scopes": list(scopes)}
        itself.record(conn, Action.TOKEN_BOOTSTRAP, f"token/{token_id}", on=EVERYTHING, before=None, after=after)
    return secret


def list_tokens(registry: Registry, caller: Caller, *, cursor: str | None, limit: int) -> Page[TokenInfo]:
    """List all tokens, newest first, without secrets."""
    caller.require(Right.ADMIN, on=EVERYTHING)
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        rows = queries.token_rows(conn, before=before, limit=check_limit(limit) + 1)
    return page(rows, limit, show=_show, key=lambda row: row.id)


def revoke_token(registry: Registry, caller: Caller, token_id: int) -> TokenInfo:
    """Revoke a token at once; revoking it again changes nothing.

    Raises:
        NotFound: There is no such token.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    with write(registry.engine) as conn:
        is_changed = queries.revoke_token(conn, token_id)
        rows = queries.token_rows(conn, token_id=token_id)
        if not rows:
            raise NotFound(f"there is no token {token_id}", fix="deltareg token ls")
        info = _show(rows[0])
        if is_changed:
            after = {"revoked_at": info.revoked_at}
            caller.record(
                conn, Action.TOKEN_REVOKE, f"token/{token_id}", on=EVERYTHING, before={"revoked_at": None}, after=after
            )
    return info


def _check_digits(kind: str, body: str) -> str:
    number = zlib.crc32(f"{kind}_{body}".encode())
    digits = ""
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def _show(row: TokenRow) -> TokenInfo:
    return TokenInfo(
        id=row.id,
        display=row.display,
        principal=row.principal,
        kind=row.kind,
        scopes=row.scopes,
        note=row.note,
        created_at=rfc3339(row.created_at),
        created_by=row.created_by or "registry",
        expires_at=rfc3339_or_none(row.expires_at),
        revoked_at=rfc3339_or_none(row.revoked_at),
        last_used_at=rfc3339_or_none(row.last_used_at),
        namespaces=row.namespaces,
    )
