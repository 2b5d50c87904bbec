"""People, and the service accounts and machines that they own."""

from collections.abc import Callable
from functools import partial

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.access import leaving
from deltareg.db.access import owners as owner_queries
from deltareg.db.access import principals as queries
from deltareg.db.access.rows import PrincipalRow
from deltareg.db.session import with_retry
from deltareg.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from deltareg.refs import parse_name
from deltareg.service.access.offboarding import describe_principal
from deltareg.service.access.principals import find_or_add_principal
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.authority.roles import Role
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.wire import PrincipalInfo

PERSON = "user"
_OWNERS = {PERSON, owner_queries.GROUP}


def find_or_add_person(conn: sa.Connection, name: str) -> int:
    """Return the id of a person, who is added if nobody has the name.

    Raises:
        Conflict: The name is a service account's, a machine's or a group's.
        Unauthenticated: The person is disabled.
        InvalidInput: It is no name.
    """
    person = find_or_add_principal(conn, name, kind=PERSON)
    row = queries.principal_row(conn, name)
    if row is not None and row.disabled_at is not None:
        raise Unauthenticated(f"{name} is disabled", fix="ask an admin")
    return person


def find_owner(conn: sa.Connection, name: str) -> PrincipalRow:
    """Find the person or the group that is to own a service account or a machine.

    Raises:
        NotFound: Nobody has the name.
        InvalidInput: It is no person and no group, or it is disabled.
    """
    row = find_principal(conn, name)
    if row.kind not in _OWNERS:
        raise InvalidInput(f"{name} is a {row.kind}, and owns nothing", fix="name a person or a group")
    if row.disabled_at is not None:
        raise InvalidInput(f"{name} is disabled", fix="name somebody else")
    return row


def find_principal(conn: sa.Connection, name: str) -> PrincipalRow:
    """Find a principal of any kind.

    Raises:
        NotFound: Nobody has the name.
    """
    row = queries.principal_row(conn, parse_name(name, "principal"))
    if row is None:
        raise NotFound(f"there is no principal {name}", fix="deltareg principal ls")
    return row


def disable_person(registry: Registry, caller: Caller, name: str) -> PrincipalInfo:
    """Disable a person, a service account or a machine at once; doing it again changes nothing.

    Tokens are revoked and sessions end; what waits for a worker because of it is cancelled, and so is
    what a worker does, unless it is a proof, or a verification, whose findings stay. Roles,
    open uploads and drafts stay, and are of no use as long as nobody enables it again.

    Raises:
        NotFound: Nobody has the name.
        Conflict: Nobody else is an admin.
    """
    return _change(registry, caller, name, partial(_disable, caller))


def enable_person(registry: Registry, caller: Caller, name: str) -> PrincipalInfo:
    """Enable a principal again: with its roles, and without the tokens that it had.

    Raises:
        NotFound: Nobody has the name.
    """

    def enable(conn: sa.Connection, row: PrincipalRow) -> None:
        if row.disabled_at is not None:
            leaving.set_disabled(conn, row.id, is_disabled=False)
            record = partial(caller.record, conn, Action.PRINCIPAL_ENABLE, f"principal/{row.name}", on=EVERYTHING)
            record(before={"disabled": True}, after={"disabled": False})

    return _change(registry, caller, name, enable)


def hand_over(registry: Registry, caller: Caller, name: str, *, to: str) -> PrincipalInfo:
    """Give a service account or a machine another owner, and revoke its tokens.

    Its former owners know their secrets. What it has done counts as theirs too; what it does from
    now on counts as the new owner's alone.

    Raises:
        NotFound: Nobody has one of the names.
        InvalidInput: It is a person, or the new owner is none.
    """
    return _change(registry, caller, name, lambda conn, row: hand_over_in(conn, caller, row, to=to))


def hand_over_in(conn: sa.Connection, caller: Caller, row: PrincipalRow, *, to: str) -> None:
    """Do what `hand_over` does, in a transaction."""
    if row.kind in _OWNERS:
        raise InvalidInput(f"{row.name} is a {row.kind}, and nobody's", fix="name a service account or a machine")
    owner, before = find_owner(conn, to), owner_queries.owner_of(conn, row.id)
    if owner.id == before:
        return
    ended = leaving.end_tokens(conn, row.id)
    owner_queries.end_people(conn, row.id)
    owner_queries.set_owner(conn, row.id, owner.id, created_by=caller.principal_id)
    caller.record(
        conn,
        Action.PRINCIPAL_GIVE,
        f"principal/{row.name}",
        on=EVERYTHING,
        before={"owner": None if before is None else queries.principal_name(conn, before)},
        after={"owner": owner.name, "tokens_revoked": ended},
    )


def _change(
    registry: Registry, caller: Caller, name: str, act: Callable[[sa.Connection, PrincipalRow], None]
) -> PrincipalInfo:
    caller.require(Right.ADMIN, on=EVERYTHING)

    def transaction(conn: sa.Connection) -> PrincipalInfo:
        queries.lock_principal(conn, name)
        act(conn, find_principal(conn, name))
        return describe_principal(conn, find_principal(conn, name))

    return with_retry(registry.engine, transaction)


def _disable(caller: Caller, conn: sa.Connection, row: PrincipalRow) -> None:
    if row.disabled_at is not None:
        return
    admins = grant_queries.lock_keepers(conn, None, Role.ADMIN)
    leaving.set_disabled(conn, row.id, is_disabled=True)
    if admins and not grant_queries.lock_keepers(conn, None, Role.ADMIN):
        raise Conflict(
            f"{row.name} is the last admin of this registry",
            fix="make somebody else one first: deltareg member add --everywhere NAME --role admin",
        )
    after = {
        "disabled": True,
        "tokens_revoked": leaving.end_tokens(conn, row.id),
        "sessions_ended": leaving.end_sessions(conn, row.id),
        "runs_cancelled": leaving.cancel_runs(conn, row.id, error=f"{row.name} is disabled"),
    }
    leaving.end_tickets(conn, row.id)
    caller.record(
        conn, Action.PRINCIPAL_DISABLE, f"principal/{row.name}", on=EVERYTHING, before={"disabled": False}, after=after
    )
