"""Webhooks and their deliveries."""

from typing import Annotated

from fastapi import Query

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.service.telling import deliveries
from deltareg.service.telling import webhooks as service
from deltareg.wire import (
    DeliveryInfo,
    DeliveryState,
    Page,
    Redeliver,
    Redelivered,
    WebhookAdd,
    WebhookInfo,
    WebhookRotate,
    WebhookSecret,
    WebhookTested,
)

router = closed_router("webhooks", prefix="/webhooks")


@router.get("")
def list_webhooks(
    registry: InRegistry,
    by: By,
    namespace: Annotated[str | None, Query(max_length=64)] = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[WebhookInfo]:
    """List the webhooks of a namespace; for an admin all there are."""
    namespace = None if namespace is None else by.current_namespace(namespace)
    return service.list_webhooks(registry, by, namespace, cursor=cursor, limit=limit)


@router.post("", status_code=201)
def add_webhook(registry: InRegistry, by: By, body: WebhookAdd) -> WebhookSecret:
    """Make a webhook of a namespace, or of all; the answer has its secret, once."""
    return service.add_webhook(registry, by, body)


@router.get("/{webhook_id}")
def show_webhook(registry: InRegistry, by: By, webhook_id: str) -> WebhookInfo:
    """Show a webhook."""
    return service.show_webhook(registry, by, webhook_id)


@router.delete("/{webhook_id}")
def remove_webhook(registry: InRegistry, by: By, webhook_id: str) -> WebhookInfo:
    """Take a webhook away, with what is still due to it."""
    return service.remove_webhook(registry, by, webhook_id)


@router.post("/{webhook_id}:rotate")
def rotate_webhook(registry: InRegistry, by: By, webhook_id: str, body: WebhookRotate) -> WebhookSecret:
    """Give a webhook another secret; for a while both sign. It answers to the caller from now."""
    return service.rotate_webhook(registry, by, webhook_id, body)


@router.post("/{webhook_id}:test")
def try_webhook(registry: InRegistry, by: By, webhook_id: str) -> WebhookTested:
    """Send a webhook a test now, once, and say what became of it."""
    return service.try_webhook(registry, by, webhook_id)


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    registry: InRegistry,
    by: By,
    webhook_id: str,
    state: DeliveryState | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[DeliveryInfo]:
    """List what was due to a webhook, newest first, with what was tried."""
    return deliveries.list_deliveries(registry, by, webhook_id, state=state, cursor=cursor, limit=limit)


@router.post("/{webhook_id}:redeliver")
def redeliver(registry: InRegistry, by: By, webhook_id: str, body: Redeliver) -> Redelivered:
    """Let deliveries be due again: some by number, or all dead ones."""
    return deliveries.redeliver(registry, by, webhook_id, body)
