"""Requests and their approvals."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.channels.floors import floor_columns
from deltareg.db.channels.request_rows import AcceptedRow, ApprovalRow, RequestRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_each, fetch_one
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.sql.together import CombinedQuery, QueryPart
from deltareg.db.tables import (
    accepted_warnings,
    approvals,
    channels,
    deltas,
    namespaces,
    principals,
    requests,
    revisions,
    versions,
)


def add_request(conn: sa.Connection, **values: object) -> int:
    """Open a request and return its number."""
    insert = sa.insert(requests).values(**values).returning(requests.c.id)
    return int(conn.execute(insert).scalar_one())


def accept_warnings(conn: sa.Connection, request_id: int, warnings: Sequence[str]) -> None:
    """Record the warnings that are accepted with a request; recorded ones stay as they are."""
    recorded = set(warnings_accepted(conn, request_id))
    for warning in dict.fromkeys(warnings):
        if warning not in recorded:
            row = {"request_id": request_id, "warning": warning}
            conn.execute(sa.insert(accepted_warnings).values(row))


def warnings_accepted(conn: sa.Connection, request_id: int) -> Sequence[str]:
    """Return the warnings that were accepted with a request."""
    query = sa.select(accepted_warnings.c.warning).order_by(accepted_warnings.c.warning)
    return conn.execute(query.where(accepted_warnings.c.request_id == request_id)).scalars().all()


def beside_request(conn: sa.Connection, request_id: int) -> tuple[list[ApprovalRow], list[str]]:
    """Return the approvals of a request, oldest first, and the warnings accepted with it."""
    result = _BESIDE.run(conn, request_id=request_id)
    return result.all(APPROVALS), [row.warning for row in result.all(WARNINGS)]


def request_row(conn: sa.Connection, request_id: int) -> RequestRow | None:
    """Find a request, with the names that it refers to."""
    return fetch_one(conn, select_requests().where(requests.c.id == request_id), RequestRow)


def request_rows(
    conn: sa.Connection,
    *,
    state: str | None,
    delta_id: int | None,
    channel: str | None,
    sight: VisibleLines | None = None,
    before: int | None,
    limit: int,
) -> Sequence[RequestRow]:
    """List requests, newest first."""
    query = in_sight(select_requests(), sight).order_by(requests.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(requests.c.state == state)
    if delta_id is not None:
        query = query.where(channels.c.delta_id == delta_id)
    if channel is not None:
        query = query.where(channels.c.name == channel)
    if before is not None:
        query = query.where(requests.c.id < before)
    return fetch_all(conn, query, RequestRow)


def open_requests(conn: sa.Connection, channel_id: int) -> Sequence[RequestRow]:
    """List the open requests of a channel, oldest first."""
    return _OPEN.all(conn, channel_id=channel_id)


def is_open() -> sa.ColumnElement[bool]:
    """Whether a request is open; the state is a literal in the SQL, as the index needs it."""
    return requests.c.state == sa.literal_column("'open'")


def decide(conn: sa.Connection, request_id: int, *, state: str, decided_by: int, decision: str) -> None:
    """Close an open request without promotion: rejected, withdrawn or stale."""
    conn.execute(
        sa.update(requests)
        .where(requests.c.id == request_id, requests.c.state == "open")
        .values(state=state, decided_at=now_us(), decided_by=decided_by, decision=decision)
    )


def add_approval(
    conn: sa.Connection, request_id: int, *, principal_id: int, token_id: int | None, message: str
) -> None:
    """Insert an approval; triggers of the database refuse one that does not count."""
    conn.execute(
        sa.insert(approvals).values(
            request_id=request_id, principal_id=principal_id, token_id=token_id, message=message
        )
    )


def open_requests_of(conn: sa.Connection, namespace_id: int | None) -> Sequence[RequestRow]:
    """List the open requests of a namespace, or of all namespaces, oldest first."""
    query = select_requests().where(requests.c.state == "open").order_by(requests.c.id)
    if namespace_id is not None:
        query = query.where(deltas.c.namespace_id == namespace_id)
    return fetch_all(conn, query, RequestRow)


def approvals_of(conn: sa.Connection, request_ids: Iterable[int]) -> dict[int, list[ApprovalRow]]:
    """List the approvals of requests, oldest first, by request."""
    query = select_approvals().where(approvals.c.request_id.in_(list(request_ids)))
    query = query.order_by(approvals.c.id)
    by_request: dict[int, list[ApprovalRow]] = {}
    for row in fetch_each(conn, query, ApprovalRow):
        by_request.setdefault(row.request_id, []).append(row)
    return by_request


@cache
def select_approvals() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for approvals, with the name and the kind of each approver."""
    return sa.select(
        approvals.c.request_id,
        approvals.c.principal_id,
        approvals.c.message,
        approvals.c.created_at,
        principals.c.name.label("principal"),
        principals.c.kind,
    ).join(principals, principals.c.id == approvals.c.principal_id)


@cache
def select_requests() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for requests, with all names that they refer to."""
    opener, uploader = principals.alias("opener"), principals.alias("uploader")
    decider, seen_revisions = principals.alias("decider"), revisions.alias("seen")
    served_versions = versions.alias("served")
    return (
        sa.select(
            requests,
            channels.c.name.label("channel"),
            channels.c.policy,
            *floor_columns(),
            channels.c.delta_id,
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            versions.c.number,
            versions.c.created_by.label("uploader_id"),
            opener.c.name.label("opener"),
            uploader.c.name.label("uploader"),
            decider.c.name.label("decider"),
            revisions.c.number.label("revision"),
            served_versions.c.number.label("previous"),
        )
        .join(channels, channels.c.id == requests.c.channel_id)
        .join(versions, versions.c.id == requests.c.version_id)
        .join(deltas, deltas.c.id == channels.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .join(opener, opener.c.id == requests.c.opener_id)
        .outerjoin(uploader, uploader.c.id == versions.c.created_by)
        .outerjoin(decider, decider.c.id == requests.c.decided_by)
        .outerjoin(revisions, revisions.c.id == requests.c.revision_id)
        .outerjoin(
            seen_revisions,
            sa.and_(
                seen_revisions.c.channel_id == requests.c.channel_id,
                seen_revisions.c.number == requests.c.seen_revision,
            ),
        )
        .outerjoin(served_versions, served_versions.c.id == seen_revisions.c.version_id)
    )


ONE: sa.BindParameter[int] = sa.bindparam("request_id", type_=sa.BigInteger)
APPROVALS: Final = QueryPart(
    select_approvals().where(approvals.c.request_id == ONE), ApprovalRow, order=(approvals.c.id,)
)
WARNINGS: Final = QueryPart(
    sa.select(accepted_warnings.c.warning).where(accepted_warnings.c.request_id == ONE),
    AcceptedRow,
    order=(accepted_warnings.c.warning,),
)
_BESIDE: Final = CombinedQuery(APPROVALS, WARNINGS)
_OPEN: Final = PreparedQuery(
    select_requests().where(requests.c.channel_id == sa.bindparam("channel_id"), is_open()).order_by(requests.c.id),
    RequestRow,
)
