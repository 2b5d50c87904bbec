"""Webhooks of namespaces, and what was delivered to them."""

from collections.abc import Sequence

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.wire import (
    DeliveryInfo,
    Page,
    Redeliver,
    Redelivered,
    WebhookAdd,
    WebhookForm,
    WebhookInfo,
    WebhookRotate,
    WebhookSecret,
    WebhookTested,
    request_of,
)


class Webhooks(Resource):
    """Where events are sent."""

    __slots__ = ()

    def add(
        self,
        url: str,
        *,
        namespace: str | None = None,
        lines: str = "",
        types: Sequence[str] = ("*",),
        form: WebhookForm = "cloudevents",
        note: str = "",
    ) -> WebhookSecret:
        """Make a webhook of a namespace, or of all without one; the answer has its secret, once."""
        body = request_of(
            WebhookAdd, url=url, namespace=namespace, lines=lines, types=list(types), form=form, note=note
        )
        return self._context.api.post("/webhooks", body, WebhookSecret)

    def list(self, namespace: str | None = None, *, cursor: str | None = None, limit: int = 50) -> Listing[WebhookInfo]:
        """List the webhooks of a namespace; without one, as an admin, all there are."""
        return self._list("/webhooks", Page[WebhookInfo], namespace=namespace, cursor=cursor, limit=limit)

    def show(self, webhook_id: str) -> WebhookInfo:
        """Show a webhook."""
        return self._context.api.get(f"/webhooks/{webhook_id}", WebhookInfo)

    def rotate(self, webhook_id: str, *, keep_s: int = 86_400) -> WebhookSecret:
        """Give a webhook another secret; for so many seconds the former one signs as well."""
        body = request_of(WebhookRotate, keep_s=keep_s)
        return self._context.api.post(f"/webhooks/{webhook_id}:rotate", body, WebhookSecret)

    def test(self, webhook_id: str) -> WebhookTested:
        """Send a webhook a test now, once."""
        return self._context.api.post(f"/webhooks/{webhook_id}:test", None, WebhookTested)

    def remove(self, webhook_id: str) -> WebhookInfo:
        """Take a webhook away, with what is still due to it."""
        return self._context.api.request("DELETE", f"/webhooks/{webhook_id}", WebhookInfo)

    def deliveries(
        self, webhook_id: str, *, state: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Listing[DeliveryInfo]:
        """List what was due to a webhook, newest first, with what was tried."""
        return self._list(
            f"/webhooks/{webhook_id}/deliveries", Page[DeliveryInfo], state=state, cursor=cursor, limit=limit
        )

    def redeliver(self, webhook_id: str, ids: Sequence[int] = (), *, dead: bool = False) -> Redelivered:
        """Let deliveries be due again: some by number, or all dead ones."""
        body = request_of(Redeliver, ids=list(ids), dead=dead)
        return self._context.api.post(f"/webhooks/{webhook_id}:redeliver", body, Redelivered)
