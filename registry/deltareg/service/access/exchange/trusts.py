"""Trusts: made, listed and ended by those who own a namespace, within what they hold."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.access import owners as owner_queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.access import trusts as queries
from deltareg.db.access.trust_rows import TrustRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.named_locks import lock_name
from deltareg.db.sql.row_protocols import present
from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound
from deltareg.refs import parse_name
from deltareg.service.access.exchange.providers import PROVIDERS
from deltareg.service.access.giving import check_may_give
from deltareg.service.access.members import check_seen
from deltareg.service.access.principals import find_or_add_principal
from deltareg.service.authority.caller_grants import read_holdings
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, SOMEWHERE, Namespace
from deltareg.service.authority.roles import role_within
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action
from deltareg.service.issuers import GITHUB, GITLAB
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry, needs_token
from deltareg.wire import Page, Scope, TrustAdd, TrustInfo

MOST = 100
"""How many trusts a namespace has at most."""
_SCOPES: tuple[Scope, ...] = ("read", "push", "promote", "serve")
"""What a pipeline may get without a secret: it approves nothing, verifies nothing and gives nothing on."""
_ISSUERS = {"github": GITHUB, "gitlab": GITLAB}
_MOST_CONDITION_BYTES = 4096


def add_trust(registry: Registry, caller: Caller, request: TrustAdd) -> TrustInfo:
    """Let workflows have tokens of a service account, which gets the roles that it lacks for them.

    A trust of the caller's that accepts the same is given back as it is.

    Raises:
        Forbidden: The caller does not own the namespace, would give a right that it lacks, or
            somebody else stands behind the account.
        NotFound: There is no such namespace.
        InvalidInput: The server does not ask that issuer, or the conditions bind it to nothing for good.
        Conflict: The namespace has as many trusts as it may have, somebody else has made this one, or the
            name is no service account's.
    """
    name = request.namespace
    place = Namespace(parse_name(name, "namespace"))
    caller.require(Right.ADMIN, on=place)
    scopes = _check_scopes(request)
    check_may_give(caller, [Right(scope) for scope in scopes], namespace=name)
    issuer = _check_issuer(registry, request)
    conditions = PROVIDERS[request.provider].conditions(request)
    if len(json.dumps(conditions)) > _MOST_CONDITION_BYTES:
        raise InvalidInput("that is too much to compare", fix="name fewer claims, or shorter ones")
    account = parse_name(request.principal or f"ci-{name}", "principal")

    def transaction(conn: sa.Connection) -> TrustInfo:
        lock_name(conn, "trusts")  # of two that accept the same, the later one finds the other
        namespace_id = check_seen(conn, caller, name)
        same = _find_same(conn, caller, request, issuer=issuer, conditions=conditions, scopes=scopes, account=account)
        if same is not None:
            return describe_trust(same)
        if queries.count_trusts(conn, namespace_id) >= MOST:
            raise Conflict(f"{name} has {MOST} trusts", fix="end one: deltareg trust rm NUMBER")
        principal_id = _account(conn, caller, account)
        _give_roles(conn, caller, principal_id, account, scopes, namespace_id=namespace_id, namespace=name)
        trust_id = queries.add_trust(
            conn,
            namespace_id=namespace_id,
            principal_id=principal_id,
            provider=request.provider,
            issuer=issuer,
            audience=request.audience,
            conditions=conditions,
            scopes=scopes,
            note=request.note,
            created_by=caller.principal_id,
        )
        info = describe_trust(present(queries.trust_row(conn, trust_id)))
        caller.record(conn, Action.TRUST_ADD, _subject(info), on=place, before=None, after=info.model_dump(mode="json"))
        return info

    return with_retry(registry.engine, transaction)


def _find_same(
    conn: sa.Connection,
    caller: Caller,
    request: TrustAdd,
    *,
    issuer: str,
    conditions: Mapping[str, object],
    scopes: Sequence[Scope],
    account: str,
) -> TrustRow | None:
    """Return the caller's trust that accepts the same for the same: a second one would leave open which counts.

    Raises:
        Conflict: Somebody else has made it, whose rights bound it.
    """
    wanted = (issuer, request.audience, dict(conditions), sorted(scopes), account)
    for row in queries.trust_rows(conn, namespace=request.namespace, after=None, limit=MOST):
        if (row.issuer, row.audience, dict(row.conditions), sorted(row.scopes), row.principal) != wanted:
            continue
        if row.maker_id != caller.principal_id:
            fix = f"to answer for it yourself, end it first: deltareg trust rm {row.id}"
            raise Conflict(f"trust {row.id} of {row.maker} accepts the same", fix=fix)
        return row
    return None


def list_trusts(
    registry: Registry, caller: Caller, namespace: str | None, *, cursor: str | None, limit: int
) -> Page[TrustInfo]:
    """List the trusts of a namespace, for its owners; all of them for an admin.

    Raises:
        NotFound: The caller sees no such namespace.
        Forbidden: It does not own it.
    """
    after = read_number_cursor(cursor)
    place = EVERYTHING if namespace is None else Namespace(parse_name(namespace, "namespace"))
    if caller.is_anonymous:
        raise needs_token()
    with read(registry.engine) as conn:
        if namespace is not None:
            check_seen(conn, caller, namespace)
        caller.require(Right.ADMIN, on=place)
        rows = queries.trust_rows(conn, namespace=namespace, after=after, limit=check_limit(limit) + 1)
    return page(rows, limit, key=lambda row: row.id, show=describe_trust)


def end_trust(registry: Registry, caller: Caller, trust_id: int) -> TrustInfo:
    """End a trust, and every token that came of it, at once.

    Raises:
        NotFound: There is none that the caller may see.
        Forbidden: The caller does not own its namespace.
    """
    if caller.is_anonymous:
        raise needs_token()
    caller.require(Right.READ, on=SOMEWHERE)

    def transaction(conn: sa.Connection) -> TrustInfo:
        row = queries.trust_row(conn, trust_id)
        if row is None or not caller.sees(Namespace(row.namespace)):
            raise NotFound(f"there is no trust {trust_id}", fix="deltareg trust ls NS")
        place = Namespace(row.namespace)
        caller.require(Right.ADMIN, on=place)
        info = describe_trust(row)
        if queries.end_trust(conn, row.id, ended_by=caller.principal_id):
            before = info.model_dump(mode="json")
            caller.record(conn, Action.TRUST_END, _subject(info), on=place, before=before, after=None)
        return info

    return with_retry(registry.engine, transaction)


def describe_trust(row: TrustRow) -> TrustInfo:
    """Describe a trust, with what it accepts and gives in one sentence."""
    whose = PROVIDERS[row.provider].sentence(row.conditions, note=row.note)
    return TrustInfo(
        id=row.id,
        provider=row.provider,
        issuer=row.issuer,
        audience=row.audience,
        namespace=row.namespace,
        scopes=row.scopes,
        principal=row.principal,
        conditions=cast("dict[str, str | int]", dict(row.conditions)),
        note=row.note,
        accepts=f"{whose} may {' and '.join(row.scopes)} in {row.namespace}, as {row.principal}",
        created_at=rfc3339(row.created_at),
        created_by=row.maker,
    )


def _subject(info: TrustInfo) -> str:
    return f"trust/{info.id}"


def _check_scopes(request: TrustAdd) -> list[Scope]:
    refused = [scope for scope in request.scopes if scope not in _SCOPES]
    if refused:
        raise InvalidInput(
            f"a workflow gets no token for {refused[0]}", fix=f"--scope {', --scope '.join(_SCOPES)}; a person does it"
        )
    return [scope for scope in _SCOPES if scope in {"read", *request.scopes}]


def _check_issuer(registry: Registry, request: TrustAdd) -> str:
    issuer = request.issuer or _ISSUERS.get(request.provider, "")
    if issuer not in registry.issuers.listed:
        known = ", ".join(registry.issuers.listed) or "none"
        raise InvalidInput(
            f"this server does not ask the issuer {issuer[:200] or '(none)'}; it asks: {known}",
            fix="whoever runs the server adds it to DELTAREG_ISSUERS; its name ends as iss writes it",
        )
    return issuer


def _account(conn: sa.Connection, caller: Caller, name: str) -> int:
    """Return the service account of a trust, which is made if it is missing.

    One that somebody else stands behind is not the caller's to speak for: an approval or an upload of
    the one would be taken for the other's.
    """
    row = principal_queries.principal_row(conn, name)
    another = "choose another name: --as NAME"
    account = find_or_add_principal(conn, name, kind="service", fix=another)
    people = grant_queries.people_of(conn, [account, caller.principal_id])
    is_own = row is None or people[account] <= people[caller.principal_id]
    if not is_own and not caller.may(Right.ADMIN, on=EVERYTHING):
        raise Forbidden(f"somebody else stands behind {name}", fix=another)
    if owner_queries.owner_of(conn, account) is None:
        owner = owner_queries.owner_of(conn, caller.principal_id) or caller.principal_id
        owner_queries.set_owner(conn, account, owner, created_by=caller.principal_id)
    return account


def _give_roles(
    conn: sa.Connection,
    caller: Caller,
    principal_id: int,
    account: str,
    scopes: list[Scope],
    *,
    namespace_id: int,
    namespace: str,
) -> None:
    """Give the account the least roles for what it lacks in the namespace, as `member add` would."""
    holdings = read_holdings(grant_queries.holdings_of(conn, principal_id))
    for right in map(Right, scopes):
        is_held = any(h.namespace in {None, namespace} and not h.pattern and right in h.rights for h in holdings)
        if is_held or (right is Right.READ and len(scopes) > 1):  # every other role reads as well
            continue
        role = role_within(right)
        grant_queries.add_grant(
            conn, principal_id, role=role, namespace_id=namespace_id, created_by=caller.principal_id
        )
        caller.record(
            conn,
            Action.MEMBER_ADD,
            f"member/{namespace}/{account}",
            on=Namespace(namespace),
            before=None,
            after={"role": role, "pattern": ""},
        )
