"""What there is of a principal: tokens, sessions, roles, and what somebody else has to take over."""

import sqlalchemy as sa

from deltareg.db.access import grants as grant_queries
from deltareg.db.access import groups as group_queries
from deltareg.db.access import leaving
from deltareg.db.access import owners as owner_queries
from deltareg.db.access import principals as queries
from deltareg.db.access import sessions as session_queries
from deltareg.db.access.rows import LeftRow, PrincipalRow
from deltareg.db.session import read
from deltareg.errors import NotFound
from deltareg.refs import parse_name
from deltareg.service.access.tokens import describe_token, split_names
from deltareg.service.authority.caller_grants import read_holdings
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.clock import rfc3339_or_none
from deltareg.service.paging import check_limit, page, read_cursor
from deltareg.service.registry import Caller, Registry, needs_token
from deltareg.wire import LeftThing, Page, PrincipalEntry, PrincipalInfo

_SESSIONS_MOST = 1000
_FIXES = {
    "namespace": "deltareg member add {0} NAME --role owner",
    "request": "deltareg request ls",
    "webhook": "deltareg webhook rotate {0}",
    "key": "deltareg worker keys",
    "agent": "deltareg fleet",
    "freeze": "deltareg channel unfreeze",
    "rule": "deltareg channel policy",
    "upload": "it ends by itself",
    "draft": "it ends by itself",
    "run": "deltareg verify REF --again",
    "account": "deltareg principal give {0} --to NAME",
}
"""Of each kind of thing that somebody leaves: the command that takes it over."""


def list_principals(
    registry: Registry, caller: Caller, *, kind: str | None, cursor: str | None, limit: int
) -> Page[PrincipalEntry]:
    """List people, service accounts and machines by name."""
    caller.require(Right.ADMIN, on=EVERYTHING)
    with read(registry.engine) as conn:
        rows = queries.principal_rows(conn, kind=kind, after=read_cursor(cursor), limit=check_limit(limit) + 1)
        owners = owner_queries.owner_names(conn, [row.id for row in rows])
    return page(
        rows,
        limit,
        key=lambda row: row.name,
        show=lambda row: PrincipalEntry(
            name=row.name, kind=row.kind, disabled_at=rfc3339_or_none(row.disabled_at), acts_for=owners.get(row.id)
        ),
    )


def show_principal(registry: Registry, caller: Caller, name: str) -> PrincipalInfo:
    """Show what there is of a principal, and what it would leave to others; anybody may ask about themselves.

    Raises:
        NotFound: Nobody has the name.
        Forbidden: It is somebody else, and the caller is no admin.
    """
    if caller.is_anonymous:
        raise needs_token()
    if parse_name(name, "principal") != caller.principal:
        caller.require(Right.ADMIN, on=EVERYTHING)
    with read(registry.engine) as conn:
        row = queries.principal_row(conn, name)
        if row is None:
            raise NotFound(f"there is no principal {name}", fix="deltareg principal ls")
        return describe_principal(conn, row)


def describe_principal(conn: sa.Connection, row: PrincipalRow) -> PrincipalInfo:
    """Describe a principal."""
    owned = owner_queries.owned_by(conn, [row.id])
    left = [*leaving.left_behind(conn, row.id), *(LeftRow("account", each.name) for each in owned)]
    roles = [str(each) for each in read_holdings(grant_queries.held_itself(conn, row.id))]
    for group in group_queries.groups_of(conn, row.id):
        of_group = read_holdings(grant_queries.held_itself(conn, group.id))
        roles += [f"{each}, by the group {group.name}" for each in of_group] or [f"in the group {group.name}"]
    return PrincipalInfo(
        name=row.name,
        kind=row.kind,
        disabled_at=rfc3339_or_none(row.disabled_at),
        acts_for=owner_queries.owner_names(conn, [row.id]).get(row.id),
        people=split_names(grant_queries.names_behind(conn, row.id)),
        tokens=[describe_token(each) for each in queries.live_tokens_of(conn, row.id)],
        sessions=len(session_queries.session_rows(conn, row.id, limit=_SESSIONS_MOST)),
        roles=roles,
        owns=[each.name for each in owned],
        leaves=[LeftThing(kind=each.kind, name=each.name, fix=_FIXES[each.kind].format(each.name)) for each in left],
    )
