"""Making tokens: for anybody as an admin, for service accounts in one's namespaces, for oneself.

Nobody gets more by a token than they have. The first token of a script says whose the script is: what
it does counts as theirs, and whoever makes the token may hand its secret to somebody else. Who makes
one without saying so has seen its secret, and stands behind the script or the worker, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.access import owners as owner_queries
from deltareg.db.access import principals as queries
from deltareg.db.access.rows import PrincipalRow
from deltareg.db.session import with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import Conflict, Forbidden, InvalidInput
from deltareg.refs import parse_name
from deltareg.service.access.giving import cannot_give, check_acts, check_limits, give_scopes
from deltareg.service.access.people import PERSON, find_owner
from deltareg.service.access.principals import check_kind
from deltareg.service.access.tokens import KINDS, describe_token, hash_secret, mint_secret
from deltareg.service.authority.grants import Right, implies
from deltareg.service.authority.refusals import make_refusal
from deltareg.service.authority.resources import EVERYTHING, SOMEWHERE, Namespace
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry, needs_token
from deltareg.wire import Scope, TokenCreate, TokenCreated, TokenKind

SERVICE = "service"
_KIND_OF: dict[str, TokenKind] = {principal: token for token, principal in KINDS.items()}
_ROLES = "a token gives no roles unless `everywhere` is true: give them with deltareg member add"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A token to be made, as far as it is decided: for whom, what for, until when."""

    name: str
    kind: TokenKind
    scopes: Sequence[Scope]
    namespaces: Sequence[str] | None
    expires_in_us: int | None
    note: str
    not_after: int | None = None


def create_token(registry: Registry, caller: Caller, request: TokenCreate) -> TokenCreated:
    """Create a token for a named principal, whom an admin need not have made yet.

    The token never allows more than its principal may do at the moment of use. With `everywhere`,
    the principal is given the rights that it lacks for it, on everything.

    Raises:
        Forbidden: It is no token of the caller's to make, or would give rights that it lacks.
        InvalidInput: The request contradicts itself, names an owner who owns nothing, or leaves out
            whose a new script is.
        NotFound: There is no such owner.
        Conflict: The account is somebody else's, disabled, or a principal that has tokens of another kind.
    """
    if caller.token_id is None:
        raise needs_token()
    name, limits = parse_name(request.principal, "principal"), check_limits(request)
    is_admin = caller.may(Right.ADMIN, on=EVERYTHING)
    if not is_admin and name != caller.principal:
        _check_may_make(caller, name, request, limits)
    wanted = _Wanted(name, request.kind, request.scopes, limits, request.expires_in_s * US_PER_S, request.note)
    secret = mint_secret(request.kind)

    def transaction(conn: sa.Connection) -> TokenCreated:
        queries.lock_principal(conn, name)
        check_acts(conn, name)
        row = queries.principal_row(conn, name)
        if row is not None and row.disabled_at is not None:
            raise Conflict(f"{name} is disabled", fix=f"deltareg principal enable {name}")
        if name == caller.principal and not is_admin:
            return _make_own(conn, caller, request, wanted, secret)
        if not is_admin:
            _check_theirs(conn, caller, row, request)
        owner = _find_or_add(conn, caller, row, request)
        lacking = give_scopes(conn, caller, owner, request.scopes, everywhere=bool(is_admin and request.everywhere))
        created = _add(conn, caller, owner, wanted, secret)
        if owner == caller.principal_id:
            queries.add_origin(conn, created.id, made_with=caller.token_id)
        warnings = [_ROLES] if lacking and request.everywhere is None else []
        return created.model_copy(update={"lacking": lacking, "warnings": warnings})

    return with_retry(registry.engine, transaction)


def _check_may_make(caller: Caller, name: str, request: TokenCreate, limits: Sequence[str] | None) -> None:
    """Check that the caller owns what a token of a service account is to be limited to.

    Raises:
        Forbidden: It does not, or would give rights that it lacks, or the name is not one of its own.
    """
    if limits is None or request.kind != "ci" or request.everywhere:
        raise make_refusal(caller.principal, Right.ADMIN, EVERYTHING, is_held=caller.may(Right.ADMIN, on=SOMEWHERE))
    for namespace in limits:
        caller.require(Right.ADMIN, on=Namespace(namespace))
        for scope in request.scopes:
            if Right(scope) is Right.BREAK_GLASS or not caller.may(Right(scope), on=Namespace(namespace)):
                raise cannot_give(caller, Right(scope), namespace)
    if not any(name.startswith(f"{namespace}-") for namespace in limits):
        raise Forbidden(
            f"service accounts of {', '.join(limits)} are called {limits[0]}-SOMETHING",
            fix=f"call it {limits[0]}-{name}, or ask an admin",
        )


def _check_theirs(conn: sa.Connection, caller: Caller, row: PrincipalRow | None, request: TokenCreate) -> None:
    """Check that an account is the caller's or a group's that they are in, or is to be.

    Raises:
        Forbidden: It is somebody else's, or no service account.
    """
    maker = queries.principal_row(conn, caller.principal)
    if maker is None or maker.kind != PERSON:
        raise Forbidden(f"{caller.principal} is no person, and makes tokens for itself alone", fix="ask its owner")
    mine = own_owners(conn, caller)
    if row is not None and (row.kind != SERVICE or owner_queries.owner_of(conn, row.id) not in mine):
        raise Forbidden(f"{row.name} is not a service account of yours", fix="choose another name, or ask an admin")
    if request.acts_for is not None and find_owner(conn, request.acts_for).id not in mine:
        raise Forbidden(
            f"{caller.principal} cannot make a token in the name of {request.acts_for}",
            fix=f"name {caller.principal}, or a group of {caller.principal}; or ask an admin",
        )


def own_owners(conn: sa.Connection, caller: Caller) -> set[int]:
    """Return the principals in whose name a caller owns accounts: the caller, and its groups."""
    return {caller.principal_id, *owner_queries.groups_with(conn, caller.principal_id)}


def _find_or_add(conn: sa.Connection, caller: Caller, row: PrincipalRow | None, request: TokenCreate) -> int:
    """Return the id of a token's principal, and record who stands behind it from now on.

    Raises:
        Conflict: It is somebody else's than the request says, or no principal that has tokens of the kind.
        InvalidInput: It is a person, for whom nobody acts, or a script that is nobody's yet.
    """
    kind = KINDS[request.kind]
    if row is not None:
        own = f"--kind {_KIND_OF[row.kind]} for that {row.kind}"
        check_kind(row.name, row.kind, wanted=kind, fix=f"choose another name for the {kind}, or {own}")
    if kind == PERSON and request.acts_for is not None:
        raise InvalidInput("a person acts for themselves", fix="leave --acts-for out, or --kind ci for a script")
    principal = (
        queries.add_principal(conn, parse_name(request.principal, "principal"), kind=kind) if row is None else row.id
    )
    if kind not in {SERVICE, "worker"}:
        return principal
    wanted = None if request.acts_for is None else find_owner(conn, request.acts_for).id
    owner = owner_queries.owner_of(conn, principal)
    if owner is None and wanted is None and kind == SERVICE:
        raise InvalidInput(
            f"nobody has said whose script {request.principal} is, and what it does counts as theirs",
            fix=f"name the person or the group that holds its secret: --acts-for NAME; {caller.principal} if you do",
        )
    if owner is None:
        mine = owner_queries.owner_of(conn, caller.principal_id) or caller.principal_id
        owner_queries.set_owner(conn, principal, wanted or mine, created_by=caller.principal_id)
    elif wanted not in {None, owner}:
        raise Conflict(
            f"{request.principal} acts for {queries.principal_name(conn, owner)}",
            fix=f"hand it over: deltareg principal give {request.principal} --to {request.acts_for}",
        )
    if wanted is None:  # who makes it sees its secret
        people = grant_queries.people_of(conn, [caller.principal_id], now=True)[caller.principal_id]
        owner_queries.add_people(conn, principal, people)
    return principal


def _make_own(conn: sa.Connection, caller: Caller, request: TokenCreate, wanted: _Wanted, secret: str) -> TokenCreated:
    """Make a narrower token for the caller itself: it ends with the one that it is made with.

    Raises:
        Forbidden: It would allow more than that one.
        InvalidInput: It would give roles.
    """
    token, _ = queries.own_token(conn, caller.token_id or 0)
    if request.everywhere or request.acts_for is not None:
        raise InvalidInput("a token of your own gives no roles and acts for nobody else", fix="ask an admin")
    for scope in request.scopes:
        if not any(implies(Right(held), Right(scope)) for held in token.scopes):
            raise cannot_give(caller, Right(scope), None)
    limits = token.namespaces if wanted.namespaces is None else wanted.namespaces
    outside = set(limits or ()) - set(token.namespaces or limits or ())
    if outside:
        raise Forbidden(
            f"this token of {caller.principal} is not for {', '.join(sorted(outside))}", fix="use one that is"
        )
    row = queries.principal_row(conn, caller.principal)
    kind = _KIND_OF[row.kind] if row is not None else wanted.kind
    own = replace(wanted, kind=kind, namespaces=limits, not_after=token.expires_at)
    created = _add(conn, caller, caller.principal_id, own, mint_secret(kind) if kind != wanted.kind else secret)
    queries.add_origin(conn, created.id, made_with=token.id)
    return created


def _add(conn: sa.Connection, caller: Caller, owner: int, wanted: _Wanted, secret: str) -> TokenCreated:
    token_id = queries.add_token(
        conn,
        token_hash=hash_secret(secret),
        display=secret[:12],
        principal_id=owner,
        kind=wanted.kind,
        scopes=wanted.scopes,
        namespaces=wanted.namespaces,
        note=wanted.note,
        created_by=caller.principal_id,
        expires_in_us=wanted.expires_in_us,
        not_after=wanted.not_after,
    )
    info = describe_token(queries.token_rows(conn, token_id=token_id)[0])
    caller.record(conn, Action.TOKEN_CREATE, f"token/{token_id}", on=EVERYTHING, before=None, after=info.model_dump())
    return TokenCreated(**dict(info), token=secret)
