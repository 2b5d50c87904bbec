"""Requests for namespaces, where admins alone make them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.access.rows import NamespaceRequestRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.tables import namespace_requests, principals


def add_request(conn: sa.Connection, name: str, *, visibility: str, reason: str, opener_id: int) -> int:
    """Insert an open request and return its id."""
    values = {"name": name, "visibility": visibility, "reason": reason, "opener_id": opener_id}
    insert = sa.insert(namespace_requests).values(**values, state="open", decision="")
    return int(conn.execute(insert.returning(namespace_requests.c.id)).scalar_one())


def open_requests_by(conn: sa.Connection, opener_id: int) -> Sequence[NamespaceRequestRow]:
    """List the open requests of a principal."""
    query = _select().where(namespace_requests.c.opener_id == opener_id, namespace_requests.c.state == "open")
    return fetch_all(conn, query, NamespaceRequestRow)


def request_row(conn: sa.Connection, request_id: int, *, lock: bool = False) -> NamespaceRequestRow | None:
    """Find a request; with `lock` it is locked until the transaction ends."""
    query = _select().where(namespace_requests.c.id == request_id)
    return fetch_one(conn, query.with_for_update(of=namespace_requests) if lock else query, NamespaceRequestRow)


def request_rows(
    conn: sa.Connection, *, state: str | None, opener_id: int | None, before: int | None, limit: int
) -> Sequence[NamespaceRequestRow]:
    """List requests, newest first: of one principal, or of all."""
    query = _select().order_by(namespace_requests.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(namespace_requests.c.state == state)
    if opener_id is not None:
        query = query.where(namespace_requests.c.opener_id == opener_id)
    if before is not None:
        query = query.where(namespace_requests.c.id < before)
    return fetch_all(conn, query, NamespaceRequestRow)


def decide(conn: sa.Connection, request_id: int, *, state: str, decided_by: int, decision: str) -> None:
    """Grant or refuse an open request."""
    conn.execute(
        sa.update(namespace_requests)
        .where(namespace_requests.c.id == request_id, namespace_requests.c.state == "open")
        .values(state=state, decided_at=now_us(), decided_by=decided_by, decision=decision)
    )


def _select() -> sa.Select[*tuple[Any, ...]]:
    opener, decider = principals.alias("opener"), principals.alias("decider")
    columns = [c for c in namespace_requests.c if c.name not in {"decided_by"}]
    return (
        sa.select(*columns, opener.c.name.label("opener"), decider.c.name.label("decider"))
        .join(opener, opener.c.id == namespace_requests.c.opener_id)
        .outerjoin(decider, decider.c.id == namespace_requests.c.decided_by)
    )
