"""Webhooks, their secrets and their deliveries.

For each webhook and subject only the first pending delivery is due, so the events of a subject
arrive in order.
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.events.rows import AttemptRow, DeliveryRow, WebhookRow, WebhookStateRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import deliveries, delivery_attempts, namespaces, outbox, principals, webhook_secrets, webhooks

_PENDING = "pending"


def add_webhook(conn: sa.Connection, **values: object) -> None:
    """Insert a webhook."""
    conn.execute(sa.insert(webhooks).values(values))


def change_webhook(conn: sa.Connection, webhook_id: str, **values: object) -> None:
    """Update a webhook."""
    conn.execute(sa.update(webhooks).where(webhooks.c.id == webhook_id).values(values))


def delete_webhook(conn: sa.Connection, webhook_id: str) -> None:
    """Delete a webhook with its secrets and deliveries."""
    conn.execute(sa.delete(webhooks).where(webhooks.c.id == webhook_id))


def webhook_row(conn: sa.Connection, webhook_id: str, *, lock: bool = False) -> WebhookRow | None:
    """Find a webhook."""
    query = _select_webhooks().where(webhooks.c.id == webhook_id)
    return fetch_one(conn, query.with_for_update(of=webhooks) if lock else query, WebhookRow)


def webhook_rows(conn: sa.Connection, *, namespace: str | None, after: str | None, limit: int) -> Sequence[WebhookRow]:
    """List webhooks by id, of a namespace or all of them."""
    query = _select_webhooks().order_by(webhooks.c.id).limit(limit)
    if namespace is not None:
        query = query.where(namespaces.c.name == namespace)
    if after is not None:
        query = query.where(webhooks.c.id > after)
    return fetch_all(conn, query, WebhookRow)


def live_webhooks(conn: sa.Connection) -> Sequence[WebhookRow]:
    """Return all webhooks that are on."""
    return fetch_all(conn, _select_webhooks().where(webhooks.c.state == "on"), WebhookRow)


def count_webhooks(conn: sa.Connection, namespace_id: int | None) -> int:
    """Count the webhooks of a namespace, or those of all namespaces."""
    namespace = webhooks.c.namespace_id
    query = sa.select(sa.func.count()).where(namespace.is_(None) if namespace_id is None else namespace == namespace_id)
    return conn.execute(query).scalar_one()


def add_secret(conn: sa.Connection, webhook_id: str, sealed: bytes) -> None:
    """Add a secret to a webhook."""
    conn.execute(sa.insert(webhook_secrets).values(webhook_id=webhook_id, sealed=sealed))


def end_secrets(conn: sa.Connection, webhook_id: str, *, keep_us: int) -> None:
    """Let the newest secret expire after a while, and the older ones at once."""
    mine, ends = webhook_secrets.c.webhook_id == webhook_id, webhook_secrets.c.ends_at
    live = sa.update(webhook_secrets).where(mine)
    conn.execute(live.where(ends > now_us()).values(ends_at=now_us()))
    conn.execute(live.where(ends.is_(None)).values(ends_at=now_us() + keep_us))


def live_secrets(conn: sa.Connection, webhook_ids: Collection[str]) -> dict[str, list[bytes]]:
    """Return the sealed secrets that webhooks are signed with now, newest first, by webhook."""
    secret = webhook_secrets.c
    query = (
        sa.select(secret.webhook_id, secret.sealed)
        .where(secret.webhook_id.in_(webhook_ids), sa.or_(secret.ends_at.is_(None), secret.ends_at > now_us()))
        .order_by(secret.id.desc())
    )
    secrets: dict[str, list[bytes]] = {}
    for webhook_id, sealed in conn.execute(query):
        secrets.setdefault(webhook_id, []).append(sealed)
    return secrets


def add_deliveries(conn: sa.Connection, rows: Sequence[dict[str, object]]) -> None:
    """Queue deliveries that are due at once: webhook, event, number and subject of each."""
    added = insert(conn, deliveries).values(state=_PENDING, attempts=0, since=now_us(), next_at=now_us())
    conn.execute(added.on_conflict_do_nothing(), list(rows))


def due_deliveries(conn: sa.Connection, *, but: Collection[str], limit: int) -> Sequence[DeliveryRow]:
    """Return the deliveries that are due: the first of each subject, for each webhook that is on.

    Args:
        conn: A transaction.
        but: Webhooks to leave out.
        limit: How many at most.
    """
    firsts = (
        sa.select(deliveries.c.webhook_id, deliveries.c.subject, sa.func.min(deliveries.c.number).label("number"))
        .where(deliveries.c.state == _PENDING)
        .group_by(deliveries.c.webhook_id, deliveries.c.subject)
        .subquery()
    )
    is_first = sa.and_(
        deliveries.c.webhook_id == firsts.c.webhook_id,
        deliveries.c.subject == firsts.c.subject,
        deliveries.c.number == firsts.c.number,
    )
    query = (
        _select_deliveries()
        .join(firsts, is_first)
        .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
        .where(
            deliveries.c.state == _PENDING,
            webhooks.c.state == "on",
            deliveries.c.next_at <= now_us(),
            webhooks.c.id.not_in(but),
        )
        .order_by(deliveries.c.next_at, deliveries.c.number)
        .limit(limit)
    )
    return fetch_all(conn, query, DeliveryRow)


def delivery_row(conn: sa.Connection, delivery_id: int) -> DeliveryRow | None:
    """Find a delivery."""
    query = _select_deliveries().where(deliveries.c.id == delivery_id)
    return fetch_one(conn, query, DeliveryRow)


def delivery_rows(
    conn: sa.Connection, webhook_id: str, *, state: str | None, before: int | None, limit: int
) -> Sequence[DeliveryRow]:
    """List deliveries of a webhook, newest first."""
    query = _select_deliveries().where(deliveries.c.webhook_id == webhook_id)
    if state is not None:
        query = query.where(deliveries.c.state == state)
    if before is not None:
        query = query.where(deliveries.c.id < before)
    return fetch_all(conn, query.order_by(deliveries.c.id.desc()).limit(limit), DeliveryRow)


def attempts_of(conn: sa.Connection, delivery_ids: Collection[int]) -> Sequence[AttemptRow]:
    """Return the attempts of deliveries, in order."""
    tried = delivery_attempts.c
    query = (
        sa.select(tried.delivery_id, tried.created_at, tried.status, tried.took_us, tried.told)
        .where(tried.delivery_id.in_(delivery_ids))
        .order_by(tried.id)
    )
    return fetch_all(conn, query, AttemptRow)


def add_attempts(conn: sa.Connection, rows: Sequence[dict[str, object]]) -> None:
    """Record attempts: delivery, status, microseconds and error text of each."""
    conn.execute(sa.insert(delivery_attempts), list(rows))


def end_delivery(conn: sa.Connection, delivery_id: int, *, state: str) -> None:
    """End a pending delivery as delivered or dead."""
    conn.execute(_pending(delivery_id).values(state=state, attempts=deliveries.c.attempts + 1, ended_at=now_us()))


def try_later(conn: sa.Connection, delivery_id: int, *, in_us: int) -> None:
    """Postpone a pending delivery."""
    conn.execute(_pending(delivery_id).values(attempts=deliveries.c.attempts + 1, next_at=now_us() + in_us))


def give_up(conn: sa.Connection, webhook_id: str) -> None:
    """Mark all pending deliveries of a webhook as dead."""
    mine = sa.and_(deliveries.c.webhook_id == webhook_id, deliveries.c.state == _PENDING)
    conn.execute(sa.update(deliveries).where(mine).values(state="dead", ended_at=now_us()))


def deliver_again(conn: sa.Connection, webhook_id: str, *, ids: Collection[int] = (), dead: bool = False) -> int:
    """Make ended deliveries due again, by number or all dead ones; return how many."""
    selected = deliveries.c.state == "dead" if dead else deliveries.c.id.in_(ids)
    again = sa.update(deliveries).where(deliveries.c.webhook_id == webhook_id, deliveries.c.state != _PENDING, selected)
    now = now_us()
    result = conn.execute(again.values(state=_PENDING, attempts=0, since=now, next_at=now, ended_at=None))
    return result.rowcount


def states_of(conn: sa.Connection, webhook_ids: Collection[str]) -> Sequence[WebhookStateRow]:
    """Count the deliveries of webhooks by state, with when the last one ended."""
    query = (
        sa.select(
            deliveries.c.webhook_id,
            deliveries.c.state,
            sa.func.count().label("number"),
            sa.func.max(deliveries.c.ended_at).label("last_at"),
        )
        .where(deliveries.c.webhook_id.in_(webhook_ids))
        .group_by(deliveries.c.webhook_id, deliveries.c.state)
    )
    return fetch_all(conn, query, WebhookStateRow)


def _pending(delivery_id: int) -> sa.Update:
    return sa.update(deliveries).where(deliveries.c.id == delivery_id, deliveries.c.state == _PENDING)


def _select_deliveries() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(deliveries, outbox.c.type, outbox.c.created_at.label("created_at")).join(
        outbox, outbox.c.id == deliveries.c.event_id
    )


def _select_webhooks() -> sa.Select[*tuple[Any, ...]]:
    maker = principals.alias()
    return (
        sa.select(
            webhooks.c.id,
            namespaces.c.name.label("namespace"),
            webhooks.c.lines,
            webhooks.c.types,
            webhooks.c.form,
            webhooks.c.shown,
            webhooks.c.address,
            webhooks.c.note,
            webhooks.c.state,
            webhooks.c.why,
            webhooks.c.answers_id,
            principals.c.name.label("answers"),
            webhooks.c.created_at,
            maker.c.name.label("made_by"),
        )
        .join(principals, principals.c.id == webhooks.c.answers_id)
        .outerjoin(maker, maker.c.id == webhooks.c.created_by)
        .outerjoin(namespaces, namespaces.c.id == webhooks.c.namespace_id)
    )
