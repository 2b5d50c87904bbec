"""Rows of events as they are sent, of webhooks and of their deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.words import DeliveryState, WebhookState


@dataclass(frozen=True, slots=True)
class WaitingEventRow:
    """An event that has no number yet, with the fields of its audit row."""

    id: int
    namespace: str | None
    line: str | None
    action: str
    subject: str
    after: object


@dataclass(frozen=True, slots=True)
class PublicEventRow:
    """An event as it is sent."""

    id: int
    number: int
    type: str
    subject: str
    namespace: str | None
    line: str | None
    created_at: int
    action: str
    actor: str
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class HeadRow:
    """The last number, and who delivers events."""

    source: str
    number: int
    holder: str | None
    held_until: int


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A webhook; its address is sealed."""

    id: str
    namespace: str | None
    lines: str
    types: Sequence[str]
    form: str
    shown: str
    address: bytes
    note: str
    state: WebhookState
    why: str
    answers_id: int
    answers: str
    created_at: int
    made_by: str | None


@dataclass(frozen=True, slots=True)
class WebhookStateRow:
    """How the deliveries of a webhook stand."""

    webhook_id: str
    state: str
    number: int
    last_at: int | None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery to a webhook, due or ended."""

    id: int
    webhook_id: str
    event_id: int
    number: int
    subject: str
    state: DeliveryState
    attempts: int
    since: int
    next_at: int
    ended_at: int | None
    type: str
    created_at: int


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt of a delivery; `status` is NULL if nobody answered."""

    delivery_id: int
    created_at: int
    status: int | None
    took_us: int
    told: str
