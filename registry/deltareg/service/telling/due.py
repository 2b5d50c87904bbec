"""What is due to webhooks: taken by the one process that delivers, and settled by it.

The process holds a lease on the database's clock. It sends what is due, and then writes down what
became of it; a process that is killed in between leaves it due, and the next one sends it again. So
each event arrives at least once, and its id tells a repeat.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from deltareg.db.access.grants import holdings_of
from deltareg.db.events import outbox as outbox_queries
from deltareg.db.events import webhooks as queries
from deltareg.db.events.rows import DeliveryRow, WebhookRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S, read_clock
from deltareg.db.sql.row_protocols import present
from deltareg.errors import InvalidInput, LeaseLost, Misconfigured
from deltareg.service.authority.caller_grants import read_holdings
from deltareg.service.authority.decide import AccessDecision, decide
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.registry import Registry
from deltareg.service.telling.addresses import WebhookAddress
from deltareg.service.telling.cloud_events import event_of
from deltareg.service.telling.forms import find_form
from deltareg.service.telling.number import locked_head
from deltareg.service.telling.send import AttemptOutcome, WebhookMessage
from deltareg.service.telling.signature import about_address, about_secret, headers_of
from deltareg.signing.secret_box import SecretBox

DAY_S = 86_400.0
PAUSES_S = (5.0, 30.0, 120.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 28_800.0)
"""How long is waited after each try that failed: a day in all, and after it the event is dead."""


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """Something to be sent, or why it cannot be.

    Attributes:
        delivery: Its row.
        message: What is sent; None where nothing can be.
        why_not: Why not.
    """

    delivery: DeliveryRow
    message: WebhookMessage | None = field(repr=False)
    why_not: str = ""


def take_lease(registry: Registry, holder: str, *, lease_s: float) -> bool:
    """Hold the deliveries for a while, or go on holding them; False where another process does."""

    def transaction(conn: sa.Connection) -> bool:
        head, now = locked_head(conn), read_clock(conn)
        if head.holder != holder and head.holder is not None and head.held_until > now:
            return False
        outbox_queries.set_head(conn, holder=holder, held_until=now + round(lease_s * US_PER_S))
        return True

    return with_retry(registry.engine, transaction)


def give_lease_back(registry: Registry, holder: str) -> None:
    """Let another process deliver at once."""

    def transaction(conn: sa.Connection) -> None:
        if locked_head(conn).holder == holder:
            outbox_queries.set_head(conn, holder=None, held_until=0)

    with_retry(registry.engine, transaction)


def due_now(registry: Registry, *, under_way: Collection[int], full: Collection[str], limit: int) -> list[DueDelivery]:
    """Give what is to be sent now, at most so many.

    Args:
        registry: The database, and what opens addresses and secrets.
        under_way: Deliveries that are being sent.
        full: Webhooks that get nothing more for now.
        limit: How many at most.
    """
    box = registry.box
    if box is None:
        return []
    with read(registry.engine) as conn:
        rows = queries.due_deliveries(conn, but=full, limit=limit + len(under_way))
        rows = [row for row in rows if row.id not in under_way][:limit]
        if not rows:
            return []
        return _Writer(conn, box, {row.webhook_id for row in rows}).write_deliveries(rows)


@dataclass(slots=True)
class _Writer:
    """Writes messages in one snapshot; webhooks, people and secrets are looked up once."""

    conn: sa.Connection
    box: SecretBox
    ids: set[str]

    def write_deliveries(self, rows: Sequence[DeliveryRow]) -> list[DueDelivery]:
        head = present(outbox_queries.head(self.conn))
        secrets = queries.live_secrets(self.conn, self.ids)
        hooks = {one: present(queries.webhook_row(self.conn, one)) for one in self.ids}
        opened = {one: self._open_hook(hook, secrets.get(one, [])) for one, hook in hooks.items()}
        at_s = read_clock(self.conn) // US_PER_S
        found: list[DueDelivery] = []
        for row in rows:
            ready = opened[row.webhook_id]
            if isinstance(ready, str):
                found.append(DueDelivery(row, None, ready))
                continue
            told = present(outbox_queries.told_event(self.conn, row.event_id))
            event = event_of(told, source=head.source)
            form = find_form(hooks[row.webhook_id].form)
            try:
                body = form.write_body(event)
            except Misconfigured as error:
                found.append(DueDelivery(row, None, f"{error.message}; {error.fix}"))
                continue
            headers = headers_of(event.id, body, at_s=at_s, with_secrets=ready[1])
            found.append(DueDelivery(row, WebhookMessage(ready[0], body, headers | {"Content-Type": form.media_type})))
        return found

    def _open_hook(self, hook: WebhookRow, sealed: Sequence[bytes]) -> tuple[WebhookAddress, list[str]] | str:
        """Give where it goes and its secrets, or why it gets nothing."""
        if not may_be_told(self.conn, hook.answers_id, hook.namespace):
            where = hook.namespace or "everything"
            return (
                f"{hook.answers} does not own {where} any more; whoever does takes it over with:"
                f" deltareg webhook rotate {hook.id}"
            )
        try:
            find_form(hook.form)
            target = WebhookAddress.parse(self.box.open(hook.address, about_address(hook.id)))
            return target, [self.box.open(each, about_secret(hook.id)) for each in sealed]
        except (InvalidInput, Misconfigured) as error:
            return f"{error.message}; {error.fix}"


def may_be_told(conn: sa.Connection, principal_id: int, namespace: str | None) -> bool:
    """Whether somebody may have events of a namespace, or of all, sent out: who owns it, now."""
    holdings = read_holdings(holdings_of(conn, principal_id))
    grants = [grant for holding in holdings for grant in holding.grants]
    on = EVERYTHING if namespace is None else Namespace(namespace)
    return decide(grants, Right.ADMIN, on) is AccessDecision.ALLOWED


def settle(
    registry: Registry,
    holder: str,
    outcomes: Mapping[DeliveryRow, AttemptOutcome],
    *,
    pauses_s: Sequence[float] = PAUSES_S,
    give_up_s: float = DAY_S,
) -> None:
    """Write down what became of tries, all in one transaction.

    Raises:
        LeaseLost: Another process delivers since; it tries all of them again.
    """
    if outcomes:
        with_retry(
            registry.engine, partial(_settle, holder=holder, outcomes=outcomes, pauses_s=pauses_s, give_up_s=give_up_s)
        )


def _settle(
    conn: sa.Connection,
    *,
    holder: str,
    outcomes: Mapping[DeliveryRow, AttemptOutcome],
    pauses_s: Sequence[float],
    give_up_s: float,
) -> None:
    head, now = locked_head(conn), read_clock(conn)
    if head.holder != holder:
        raise LeaseLost("another process delivers", fix="it goes on with what is due")
    known = {row: queries.delivery_row(conn, row.id) for row in outcomes}
    tried = {row: outcomes[row] for row, found in known.items() if found is not None}
    queries.add_attempts(
        conn,
        [
            {
                "delivery_id": row.id,
                "status": outcome.status,
                "took_us": outcome.took_us,
                "told": outcome.description,
                "created_at": now,
            }
            for row, outcome in tried.items()
        ],
    ) if tried else None
    for row, outcome in tried.items():
        if outcome.is_ok:
            queries.end_delivery(conn, row.id, state="delivered")
            continue
        if outcome.is_gone:
            why = "the receiver says that it is gone (410)"
            queries.change_webhook(conn, row.webhook_id, state="off", why=why)
            queries.give_up(conn, row.webhook_id)
            continue
        is_old = now - row.since > give_up_s * US_PER_S
        if is_old or row.attempts >= len(pauses_s):
            queries.end_delivery(conn, row.id, state="dead")
            continue
        pause_s = max(pauses_s[row.attempts], outcome.wait_s or 0)
        queries.try_later(conn, row.id, in_us=round(pause_s * US_PER_S))
