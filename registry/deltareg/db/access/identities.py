"""Who is who at a provider: identities, and the principals that they stand for."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.access.sign_in_rows import IdentityRow
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.tables import identities, principals


def find_identity(conn: sa.Connection, *, issuer: str, subject: str) -> IdentityRow | None:
    """Find who somebody is at a provider, and lock it until the transaction ends."""
    query = _select().where(identities.c.issuer == issuer, identities.c.subject == subject)
    return fetch_one(conn, query.with_for_update(of=identities), IdentityRow)


def identity_row(conn: sa.Connection, identity_id: int) -> IdentityRow | None:
    """Find an identity by its number."""
    return fetch_one(conn, _select().where(identities.c.id == identity_id), IdentityRow)


def identity_rows(conn: sa.Connection, *, before: int | None = None, limit: int = 50) -> Sequence[IdentityRow]:
    """List identities, newest first."""
    query = _select().order_by(identities.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(identities.c.id < before)
    return fetch_all(conn, query, IdentityRow)


def add_identity(conn: sa.Connection, *, issuer: str, subject: str, principal_id: int, email: str) -> int:
    """Insert an identity and return its id."""
    insert = sa.insert(identities).values(issuer=issuer, subject=subject, principal_id=principal_id, email=email)
    return int(conn.execute(insert.returning(identities.c.id)).scalar_one())


def set_email(conn: sa.Connection, identity_id: int, email: str) -> None:
    """Store the address that the provider confirms now."""
    conn.execute(sa.update(identities).where(identities.c.id == identity_id).values(email=email))


def link_identity(conn: sa.Connection, identity_id: int, *, principal_id: int) -> None:
    """Let an identity stand for another principal."""
    conn.execute(sa.update(identities).where(identities.c.id == identity_id).values(principal_id=principal_id))


def _select() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(
        identities.c.id,
        identities.c.issuer,
        identities.c.subject,
        identities.c.email,
        identities.c.principal_id,
        principals.c.name.label("principal"),
        principals.c.kind,
        principals.c.disabled_at,
        identities.c.created_at,
    ).join(principals, principals.c.id == identities.c.principal_id)
