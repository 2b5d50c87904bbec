"""What applying a folder changes about access and webhooks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deltareg.client.applying.access_files import DeclaredWebhook
from deltareg.client.client import Client
from deltareg.wire import AccessDocument, AccessPlan, WebhookInfo
from deltareg.words import AccessVerb

_PAGE = 200


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """A webhook that is made, made anew or taken away.

    Attributes:
        of: Its name and namespace.
        before: What it is now, as a file writes it.
        after: What it is to be.
        former: The id of the webhook that is taken away; empty for none.
        declared: The webhook that is made; None for none.
    """

    of: str
    before: Mapping[str, object]
    after: Mapping[str, object]
    former: str = ""
    declared: DeclaredWebhook | None = None

    @property
    def action(self) -> AccessVerb:
        """What is done."""
        return "create" if not self.former else "replace" if self.declared else "remove"


def compare_access(client: Client, document: AccessDocument | None, *, prune: bool) -> AccessPlan:
    """Ask what applying a document would change.

    Args:
        client: The registry.
        document: What the folder says about access; None if nothing.
        prune: Whether to take away what it leaves out.

    Raises:
        Forbidden: The caller may not see what it is about.
        InvalidInput: It names what cannot be.
    """
    if document is None:
        return AccessPlan(changes=[], kept=[], unchanged=0, is_checked=True)
    return client.access.apply(document, prune=prune, dry_run=True)


def compare_webhooks(
    client: Client, namespace: str, declared: Sequence[DeclaredWebhook], *, is_new: bool
) -> list[WebhookChange]:
    """Compare the webhooks of a namespace with those that its file lists, by their names.

    A server shows of an address only where it is, as the rest may be a secret: that part is compared.
    """
    existing = {} if is_new else {hook.note: hook for hook in client.webhooks.list(namespace, limit=_PAGE)}
    return [*_compare_declared(existing, declared), *_find_unlisted(existing, namespace, declared)]


def _compare_declared(
    existing: Mapping[str, WebhookInfo], declared: Sequence[DeclaredWebhook]
) -> Iterator[WebhookChange]:
    for one in declared:
        hook = existing.get(one.name)
        before = {} if hook is None else write_webhook(hook)
        after = {"url": before.get("url", one.url), **one.fields}
        is_elsewhere = hook is not None and not _is_at(hook, one.read_url())
        if is_elsewhere:
            after["url"] = one.url
        if before != after:
            former = "" if hook is None else hook.id
            yield WebhookChange(f"{one.name} in {one.namespace}", before, after, former, one)


def _find_unlisted(
    existing: Mapping[str, WebhookInfo], namespace: str, declared: Sequence[DeclaredWebhook]
) -> Iterator[WebhookChange]:
    names = {one.name for one in declared}
    for note, hook in existing.items():
        if note not in names:
            yield WebhookChange(f"{note or hook.id} in {namespace}", write_webhook(hook), {}, hook.id)


def write_webhook(hook: WebhookInfo) -> dict[str, object]:
    """Write a webhook as a file does, with as much of its address as is shown."""
    return {"url": hook.address, "types": list(hook.types), "lines": hook.lines, "form": hook.form}


def _is_at(hook: WebhookInfo, url: str) -> bool:
    return f"{url}/".startswith(hook.address.removesuffix("…"))
