"""Giving roles and tokens: nobody gives what they lack, and who stands behind a name stays known."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from deltareg.db.access import grants as queries
from deltareg.db.access import principals as principal_queries
from deltareg.errors import Forbidden, InvalidInput
from deltareg.refs import parse_name
from deltareg.service.authority.caller_grants import HeldRole, read_holdings
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.authority.roles import ROLE_OF
from deltareg.service.registry import Caller
from deltareg.wire import Scope, TokenCreate

_ON_HOST = "deltareg-server token create --admin --for NAME --scope break-glass, on the server's host"


def check_limits(request: TokenCreate) -> list[str] | None:
    """Return the namespaces that a token is to be limited to; None for no limit.

    Raises:
        InvalidInput: The request limits the token to namespaces and also asks for everywhere.
    """
    if request.namespaces is None:
        return None
    if request.everywhere:
        raise InvalidInput(
            "a token for some namespaces is not one for everywhere", fix="leave --everywhere out, or --namespace"
        )
    return sorted({parse_name(name, "namespace") for name in request.namespaces})


def check_may_give(caller: Caller, rights: Iterable[Right], *, namespace: str | None) -> None:
    """Refuse to let the caller give rights that it lacks.

    Raises:
        Forbidden: The caller does not manage the namespace, or lacks one of the rights there.
    """
    place = EVERYTHING if namespace is None else Namespace(namespace)
    caller.require(Right.ADMIN if namespace is None else Right.MAINTAIN, on=place)
    for right in sorted(rights):
        if not caller.may(right, on=place):
            raise cannot_give(caller, right, namespace)


def cannot_give(caller: Caller, right: Right, namespace: str | None) -> Forbidden:
    """Build the error for giving a right that the caller lacks."""
    where = "" if namespace is None else f" in {namespace}"
    if right is Right.BREAK_GLASS:
        fix = f"ask somebody who may, with a token made for it; or {_ON_HOST}"
    else:
        fix = f"ask an owner of {namespace}" if namespace else "ask an admin"
    return Forbidden(
        f"this token of {caller.principal} does not allow {right.value!r}{where}, and nobody gives what they lack",
        fix=fix,
    )


def check_acts(conn: sa.Connection, name: str) -> None:
    """Refuse to make a token for a group: its members act, each in their own name.

    Raises:
        InvalidInput: The principal is a group, or was one.
    """
    row = principal_queries.principal_row(conn, name)
    if row is not None and row.kind == "group":
        raise InvalidInput(f"{name} is a group, and a group has no tokens", fix="make one for a member of it")


def give_scopes(
    conn: sa.Connection, caller: Caller, owner: int, scopes: Sequence[Scope], *, everywhere: bool
) -> list[Scope]:
    """Let a principal hold what its token is for; return the scopes that it holds nowhere.

    Args:
        conn: The transaction of the token.
        caller: Who makes the token: an admin of everything.
        owner: The principal.
        scopes: What the token is for.
        everywhere: Whether the principal is given what it lacks, on everything.

    Raises:
        Forbidden: The caller would give a right that it lacks.
    """
    holdings = read_holdings(queries.holdings_of(conn, owner))
    if Right.BREAK_GLASS in scopes:
        _check_glass(caller, owner, holdings)
    if not everywhere:
        return [scope for scope in scopes if not _is_held(scope, holdings)]
    for scope in scopes:
        right = Right(scope)
        if not any(h.namespace is None and right in h.rights for h in holdings):
            if not caller.may(right, on=EVERYTHING):
                raise cannot_give(caller, right, None)
            by = None if caller.token_id is None else caller.principal_id
            queries.add_grant(conn, owner, role=ROLE_OF[right], namespace_id=None, created_by=by)
    return []


def _check_glass(caller: Caller, owner: int, holdings: Sequence[HeldRole]) -> None:
    """Check that the caller may create a break-glass token: at most for itself.

    Those who may break the glass themselves may make one for others too. Otherwise one admin could
    play two people: break the glass under another name, and review it.
    """
    is_own = owner == caller.principal_id and any(Right.BREAK_GLASS in h.rights for h in holdings)
    if not is_own and not caller.may(Right.BREAK_GLASS, on=EVERYTHING):
        raise cannot_give(caller, Right.BREAK_GLASS, None)


def _is_held(scope: Scope, holdings: Sequence[HeldRole]) -> bool:
    # Who may push makes a namespace by pushing; what is not private is read by all.
    return scope in {"read", "push"} or any(Right(scope) in h.rights for h in holdings)
