"""Linking: an admin lets an identity at a provider be a principal that was here before it."""

import sqlalchemy as sa

from deltareg.db.access import identities as queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.access import sign_ins as sign_in_queries
from deltareg.db.access.sign_in_rows import IdentityRow
from deltareg.db.session import read, with_retry
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import parse_name
from deltareg.service.access.groups import follow_provider
from deltareg.service.access.sign_in.people import PERSON
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.wire import Page
from deltareg.wire.sign_in import IdentityInfo, IdentityLink


def list_identities(registry: Registry, caller: Caller, *, cursor: str | None, limit: int) -> Page[IdentityInfo]:
    """List who has signed in with a provider, newest first."""
    caller.require(Right.ADMIN, on=EVERYTHING)
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        rows = queries.identity_rows(conn, before=before, limit=check_limit(limit) + 1)
    return page(rows, limit, show=lambda row: _show(registry, row), key=lambda row: row.id)


def link_identity(registry: Registry, caller: Caller, identity_id: int, request: IdentityLink) -> IdentityInfo:
    """Let an identity be another person from now on; where it is signed in, it has to sign in again.

    Raises:
        NotFound: There is no such identity or principal.
        InvalidInput: The principal is no person.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    name = parse_name(request.principal, "principal")

    def transaction(conn: sa.Connection) -> IdentityInfo:
        row = queries.identity_row(conn, identity_id)
        if row is None:
            raise NotFound(f"there is no identity {identity_id}", fix="deltareg identity ls")
        principal = principal_queries.principal_row(conn, name)
        if principal is None:
            raise NotFound(f"nobody is called {name}", fix="deltareg identity ls")
        if principal.kind != PERSON:
            raise InvalidInput(f"{name} is no person", fix="name the principal of a person")
        if principal.id != row.principal_id:
            _end_as(registry, conn, row)
            queries.link_identity(conn, identity_id, principal_id=principal.id)
            subject = f"identity/{identity_id}"
            before, after = {"principal": row.principal}, {"principal": name, "subject": row.subject}
            caller.record(conn, Action.IDENTITY_LINK, subject, on=EVERYTHING, before=before, after=after)
        linked = queries.identity_row(conn, identity_id)
        assert linked is not None
        return _show(registry, linked)

    return with_retry(registry.engine, transaction)


def _end_as(registry: Registry, conn: sa.Connection, row: IdentityRow) -> None:
    """End what an identity is signed in as: the next sign-in says which groups the other person is in."""
    for sign_in in sign_in_queries.live_sign_ins(conn, identity_id=row.id):
        principal_queries.revoke_token(conn, sign_in.token_id)
    for provider in registry.providers:
        if provider.settings.issuer == row.issuer:
            follow_provider(conn, row.principal_id, source=provider.name, groups=())


def _show(registry: Registry, row: IdentityRow) -> IdentityInfo:
    names = [each.name for each in registry.providers if each.settings.issuer == row.issuer]
    return IdentityInfo(
        id=row.id,
        provider=names[0] if names else row.issuer,
        subject=row.subject,
        email=row.email,
        principal=row.principal,
        is_disabled=row.disabled_at is not None,
        since=rfc3339(row.created_at),
    )
