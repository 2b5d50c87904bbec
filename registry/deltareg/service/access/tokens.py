"""Tokens: random, shown once, stored as a hash, made for a named principal."""

import hashlib
import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeVar

import sqlalchemy as sa

from deltareg.db.access import principals as queries
from deltareg.db.access.bearers import live_token
from deltareg.db.access.live_tokens import live_token_hashes
from deltareg.db.access.owners import owner_of
from deltareg.db.access.rows import LiveTokenRow, TokenRow
from deltareg.db.session import glance, read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import Conflict, Unauthenticated, Unavailable
from deltareg.service.access.giving import check_acts, give_scopes
from deltareg.service.access.principals import find_or_add_principal
from deltareg.service.authority.caller_grants import grants_of_token, read_holdings
from deltareg.service.authority.decide import AccessDecision, decide_cached
from deltareg.service.authority.grants import SCOPES, WORKER, Grant, PublicNamespaces, Right, grants_of, scopes_for
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.events import Action
from deltareg.service.registry import ANONYMOUS, Caller, Registry, needs_token
from deltareg.wire import Scope, TokenInfo, TokenKind, WhoAmI
from deltareg.words import PrincipalKind

F = TypeVar("F")
T = TypeVar("T")

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43  # 62**43 > 2**256
_CHECK_LENGTH = 6
_TOUCH_US = 60 * US_PER_S
_ALLOWED = AccessDecision.ALLOWED
_LOGIN = "run `deltareg auth login`, or set DELTAREG_TOKEN"
KINDS: Final[Mapping[TokenKind, PrincipalKind]] = MappingProxyType({"pat": "user", "ci": "service", "wrk": "worker"})
"""Which kind of principal has tokens of a kind."""


def mint_secret(kind: str, *, choose: Callable[[str], str] = secrets.choice) -> str:
    """Generate a token: `drg_<kind>_<43 base62>_<6 base62 of a CRC32>`.

    The check digits let a secret scanner tell a token from a string that looks like one.
    """
    body = "".join(choose(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return f"drg_{kind}_{body}_{_check_digits(kind, body)}"


def hash_secret(token: str) -> str:
    """Return the hash that is stored for a token; 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def authenticate(registry: Registry, token: str, *, request_id: str) -> Caller:
    """Return the caller whose token this is.

    Raises:
        Unauthenticated: It is nobody's, revoked or expired; the error does not say which.
    """
    return answer_to(registry, token, find_bearer, lambda _conn, caller, _nothing: caller, request_id=request_id)


def find_bearer(conn: sa.Connection, token_hash: str) -> tuple[LiveTokenRow | None, None]:
    """Find a token alone, for an answer whose rows are read after it."""
    return live_token(conn, token_hash), None


def answer_to(
    registry: Registry,
    token: str,
    look: Callable[[sa.Connection, str], tuple[LiveTokenRow | None, F]],
    act: Callable[[sa.Connection, Caller, F], T],
    *,
    request_id: str,
) -> T:
    """Read a token and the requested rows in one glance, then answer the caller.

    `look` must read everything in one statement, or not depend on the order of its statements: each
    sees what was committed before it began (`db.session.glance`).

    Args:
        registry: The database and the store.
        token: The token that came with the request.
        look: Finds a token by its hash, together with the requested rows. Rows that it finds
            without a valid token are shown to nobody.
        act: Builds the answer from those rows; it must check the rights of the caller.
        request_id: The id of the request.

    Raises:
        Unauthenticated: As in `authenticate`.
    """
    _check_form(token)
    token_hash = hash_secret(token)
    with glance(registry.engine) as conn:
        row, subject = look(conn, token_hash)
        live = _require_live(row)
        if live.last_used_at is not None and live.now - live.last_used_at <= _TOUCH_US:
            return act(conn, caller_with(registry, conn, live, request_id), subject)
    # Noted before anything else, and once in a while; then the token is looked at again.
    with_retry(registry.engine, lambda conn: queries.touch_token(conn, live.id))
    with glance(registry.engine) as conn:
        row, subject = look(conn, token_hash)
        return act(conn, caller_with(registry, conn, _require_live(row), request_id), subject)


def _check_form(token: str) -> None:
    parts = token.split("_")
    well_formed = len(parts) == 4 and parts[0] == "drg" and parts[1] in KINDS
    if not well_formed or parts[3] != _check_digits(parts[1], parts[2]):
        raise Unauthenticated("this is not a token of a registry", fix=_LOGIN)


def _require_live(row: LiveTokenRow | None) -> LiveTokenRow:
    if row is None:
        raise Unauthenticated("the token is unknown, revoked or expired", fix=_LOGIN)
    return row


def caller_with(registry: Registry, conn: sa.Connection, row: LiveTokenRow, request_id: str) -> Caller:
    """Return the caller with what its token allows now: its scopes within its principal's roles."""
    limits = None if row.namespaces is None else tuple(row.namespaces)
    visibility = registry.visibilities.at(conn, row.epoch)
    scopes = scopes_for(row.principal_kind, row.scopes)
    grants = grants_of_token(scopes, row.held or "", limits, visibility.private)
    is_worker = row.principal_kind == WORKER
    return Caller(
        row.principal,
        row.principal_id,
        row.id,
        grants,
        request_id,
        is_worker=is_worker,
        is_script=row.principal_kind == KINDS["ci"],
        is_founder=registry.namespaces_by == "pushers" or decide_cached(grants, Right.ADMIN, EVERYTHING) is _ALLOWED,
        aliases=visibility.aliases,
    )


def answer_anybody(registry: Registry, act: Callable[[sa.Connection, Caller], T], *, request_id: str) -> T:
    """Answer a request without a token, about public things only."""
    with glance(registry.engine) as conn:
        visibility = registry.visibilities.at(conn, None)
        grants = frozenset({Grant(Right.READ, PublicNamespaces(visibility.public))})
        return act(conn, Caller(ANONYMOUS, 0, None, grants, request_id, aliases=visibility.aliases))


def is_live(registry: Registry, header: str) -> bool:
    """Whether an `Authorization` header holds a live token."""
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


def live_hashes(registry: Registry) -> frozenset[str]:
    """Return the hashes of all live tokens; what `hash_secret` makes of one of them is among these."""
    with glance(registry.engine) as conn:
        return live_token_hashes(conn)


def whoami(registry: Registry, caller: Caller) -> WhoAmI:
    """Describe the token in use and its principal."""
    if caller.token_id is None:
        raise needs_token()
    with read(registry.engine) as conn:
        row, holdings = queries.own_token(conn, caller.token_id)
        owner = owner_of(conn, caller.principal_id)
        acts_for = None if owner is None else queries.principal_name(conn, owner)
    return WhoAmI(
        principal=row.principal,
        kind=row.kind,
        scopes=row.scopes,
        token_id=row.id,
        expires_at=rfc3339_or_none(row.expires_at),
        namespaces=row.namespaces,
        roles=[str(holding) for holding in read_holdings(holdings)],
        acts_for=acts_for,
        people=split_names(row.people),
    )


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
    only_as_first: bool = False,
) -> str:
    """Create a token without a caller: for the first admin, a local worker, or a recovery.

    Its principal is given all rights of its scopes everywhere, and the scopes for which it may make
    tokens later (`also_held`). Only a process that owns the database calls this, never a route.

    Raises:
        Conflict: The name belongs to a principal of another kind; or with `only_as_first`, there are tokens.
    """
    secret = secret or mint_secret(kind)

    def transaction(conn: sa.Connection) -> None:
        if only_as_first and queries.count_tokens(conn):
            raise Conflict("the registry has tokens already", fix="use one of them")
        check_acts(conn, principal)
        owner = find_or_add_principal(conn, principal, kind=KINDS[kind])
        itself = Caller("registry", owner, None, grants_of(SCOPES))
        give_scopes(conn, itself, owner, [*scopes, *also_held], everywhere=True)
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
            expires_in_us=None if expires_in_s is None else expires_in_s * US_PER_S,
        )
        after = {"principal": principal, "scopes": list(scopes)}
        itself.record(conn, Action.TOKEN_BOOTSTRAP, f"token/{token_id}", on=EVERYTHING, before=None, after=after)

    with_retry(registry.engine, transaction)
    return secret


def _check_digits(kind: str, body: str) -> str:
    number = zlib.crc32(f"{kind}_{body}".encode())
    digits = ""
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def describe_token(row: TokenRow) -> TokenInfo:
    """Describe a token without its secret."""
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
        people=split_names(row.people),
    )


def split_names(joined: str | None) -> list[str]:
    """Return the names that the database joined by commas, sorted."""
    return sorted(joined.split(",")) if joined else []
