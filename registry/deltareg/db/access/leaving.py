"""What ends when a principal is disabled, and what it leaves to others."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.access.rows import LeftRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.tables import (
    agents,
    auto_promotions,
    channels,
    deltas,
    grants,
    hub_drafts,
    hub_tickets,
    namespaces,
    principals,
    requests,
    revisions,
    runs,
    sessions,
    signing_keys,
    tokens,
    uploads,
    webhooks,
)
from deltareg.db.tables.runs import ACTIVE

_PROOF, _VERIFICATION = "prove", "verify"
"""The registry needs proofs of what somebody pushed, whether they are still there or not."""


def set_disabled(conn: sa.Connection, principal_id: int, *, is_disabled: bool) -> None:
    """Disable a principal, so that no token of it is valid, or enable it again."""
    update = sa.update(principals).where(principals.c.id == principal_id)
    conn.execute(update.values(disabled_at=now_us() if is_disabled else None))


def end_tokens(conn: sa.Connection, principal_id: int) -> int:
    """Revoke all tokens of a principal; return how many were live."""
    live = sa.and_(tokens.c.principal_id == principal_id, tokens.c.revoked_at.is_(None))
    is_due = sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now_us())
    number = conn.execute(sa.select(sa.func.count()).select_from(tokens).where(live, is_due)).scalar_one()
    conn.execute(sa.update(tokens).where(live).values(revoked_at=now_us()))
    return int(number)


def end_sessions(conn: sa.Connection, principal_id: int) -> int:
    """End all sessions of a principal, and the codes that would begin one; return how many there were."""
    own = sa.select(tokens.c.id).where(tokens.c.principal_id == principal_id)
    live = sa.and_(sessions.c.token_id.in_(own), sessions.c.ended_at.is_(None), sessions.c.expires_at > now_us())
    return conn.execute(sa.update(sessions).where(live).values(ended_at=now_us(), code_hash=None)).rowcount


def end_tickets(conn: sa.Connection, principal_id: int) -> None:
    """Forget the tickets with which clients of the hub upload."""
    conn.execute(sa.delete(hub_tickets).where(hub_tickets.c.principal_id == principal_id))


def cancel_runs(conn: sa.Connection, principal_id: int, *, error: str) -> int:
    """Cancel what workers have to do for a principal; return how many runs that were.

    Proofs go on, and so do verifications that have begun: they may have found a failure.
    """
    is_kept = sa.or_(runs.c.what == _PROOF, sa.and_(runs.c.what == _VERIFICATION, runs.c.started_at.is_not(None)))
    own = sa.and_(ACTIVE, runs.c.created_by == principal_id, ~is_kept)
    update = sa.update(runs).where(own).values(state="cancelled", error=error, finished_at=now_us())
    return conn.execute(update).rowcount


def left_behind(conn: sa.Connection, principal_id: int) -> Sequence[LeftRow]:
    """List what a principal leaves to others, with the kind of each thing."""
    return [row for query in _left_by(principal_id) for row in fetch_all(conn, query, LeftRow)]


def _left_by(principal_id: int) -> list[sa.Select[str, str]]:
    line = namespaces.c.name + "/" + deltas.c.name
    of_channel = sa.join(channels, deltas, deltas.c.id == channels.c.delta_id).join(
        namespaces, namespaces.c.id == deltas.c.namespace_id
    )
    channel = line + "@" + channels.c.name
    other = grants.alias("other")
    someone = principals.alias("someone")
    has_other = (
        sa.exists()
        .where(other.c.namespace_id == grants.c.namespace_id, other.c.role == "owner", other.c.ended_at.is_(None))
        .where(other.c.principal_id == someone.c.id, someone.c.id != principal_id, someone.c.disabled_at.is_(None))
    )
    return [
        _select_named("namespace", namespaces.c.name)
        .join(grants, grants.c.namespace_id == namespaces.c.id)
        .where(
            grants.c.principal_id == principal_id, grants.c.role == "owner", grants.c.ended_at.is_(None), ~has_other
        ),
        _select_named("request", channel)
        .select_from(of_channel)
        .join(requests, requests.c.channel_id == channels.c.id)
        .where(requests.c.opener_id == principal_id, requests.c.state == "open"),
        _select_named("webhook", webhooks.c.id).where(webhooks.c.answers_id == principal_id),
        _select_named("key", signing_keys.c.keyid).where(
            signing_keys.c.principal_id == principal_id,
            signing_keys.c.retired_at.is_(None),
            signing_keys.c.revoked_at.is_(None),
        ),
        _select_named("agent", agents.c.name).where(agents.c.principal_id == principal_id),
        _select_named("freeze", channel)
        .select_from(of_channel)
        .join(revisions, sa.and_(revisions.c.channel_id == channels.c.id, revisions.c.number == channels.c.revision))
        .where(revisions.c.actor_id == principal_id, revisions.c.kind == "freeze"),
        _select_named("rule", channel)
        .select_from(of_channel)
        .join(auto_promotions, auto_promotions.c.channel_id == channels.c.id)
        .where(auto_promotions.c.principal_id == principal_id),
        _select_named("upload", uploads.c.target).where(
            uploads.c.principal_id == principal_id, uploads.c.state == "open"
        ),
        _select_named("draft", hub_drafts.c.line).where(hub_drafts.c.principal_id == principal_id),
        _select_named("run", runs.c.id).where(ACTIVE, runs.c.created_by == principal_id, runs.c.what != _PROOF),
    ]


def _select_named(kind: str, name: sa.ColumnElement[str]) -> sa.Select[str, str]:
    return sa.select(sa.literal(kind).label("kind"), name.label("name")).order_by(name)
