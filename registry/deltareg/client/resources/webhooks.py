"""Webhooks of namespaces, and their deliveries."""

from collections.abc import Sequence

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.wire import (
    DeliveryInfo,
    Page,
    Redeliver,
    Redelivered,
    WebhookAdd,
    WebhookInfo,
    WebhookRotate,
    WebhookSecret,
    WebhookTested,
    request_of,
)


class Webhooks(Resource):
    """The webhooks that events are sent to."""

    __slots__ = ()

    def add(
        self,
        url: str,
        *,
        namespace: str | None = None,
        lines: str = "",
        types: Sequence[str] = ("*",),
        form: str = "cloudevents",
        note: str = "",
    ) -> WebhookSecret:
        """Create a webhook for a namespace, or for all; only this answer contains its secret."""
        body = request_of(
            WebhookAdd, url=url, namespace=namespace, lines=lines, types=list(types), form=form, note=note
        )
        return self._context.api.post("/webhooks", body, WebhookSecret)

    def list(self, namespace: str | None = None, *, cursor: str | None = None, limit: int = 50) -> Listing[WebhookInfo]:
        """List the webhooks of a namespace; without one all webhooks, for admins."""
        return self._list("/webhooks", Page[WebhookInfo], namespace=namespace, cursor=cursor, limit=limit)

    def show(self, webhook_id: str) -> WebhookInfo:
        """Show a webhook."""
        return self._context.api.get(f"/webhooks/{webhook_id}", WebhookInfo)

    def rotate(self, webhook_id: str, *, keep_s: int = 86_400) -> WebhookSecret:
        """Give a webhook a new secret; for `keep_s` seconds the former one signs as well."""
        body = request_of(WebhookRotate, keep_s=keep_s)
        return self._context.api.post(f"/webhooks/{webhook_id}:rotate", body, WebhookSecret)

    def test(self, webhook_id: str) -> WebhookTested:
        """Send a test to a webhook now, once."""
        return self._context.api.post(f"/webhooks/{webhook_id}:test", None, WebhookTested)

    def remove(self, webhook_id: str) -> WebhookInfo:
        """Remove a webhook and its pending deliveries."""
        return self._context.api.request("DELETE", f"/webhooks/{webhook_id}", WebhookInfo)

    def deliveries(
        self, webhook_id: str, *, state: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Listing[DeliveryInfo]:
        """List the deliveries to a webhook, newest first, with what was tried."""
        return self._list(
            f"/webhooks/{webhook_id}/deliveries", Page[DeliveryInfo], state=state, cursor=cursor, limit=limit
        )

    def redeliver(self, webhook_id: str, ids: Sequence[int] = (), *, dead: bool = False) -> Redelivered:
        """Make deliveries due again: some by number, or all dead ones."""
        body = request_of(Redeliver, ids=list(ids), dead=dead)
        return self._context.api.post(f"/webhooks/{webhook_id}:redeliver", body, Redelivered)
