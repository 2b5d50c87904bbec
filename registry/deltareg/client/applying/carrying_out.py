"""Applies a folder to a registry: suites, then access all at once, floors and channels, and webhooks last."""

from collections.abc import Iterator

from deltareg.client.applying.access_changes import WebhookChange
from deltareg.client.applying.comparing import ApplyChange, ApplyPlan
from deltareg.client.client import Client
from deltareg.documents.json_values import is_list

_OF_ACCESS = frozenset({"person", "service", "group", "role", "namespace", "member", "quota"})


def carry_out(client: Client, plan: ApplyPlan, *, reason: str) -> Iterator[ApplyChange]:
    """Apply a plan one change at a time; yield each change once it is made.

    A change that fails stops it. The changes made so far stay, and applying the same folder again
    continues.

    Args:
        client: The registry.
        plan: What to do.
        reason: The reason, which is kept with each policy.
    """
    is_done = plan.access is None
    for change in plan.changes:
        if change.kind in _OF_ACCESS:
            if not is_done and plan.access is not None:  # all of it in one transaction
                client.access.apply(plan.access, prune=plan.prune)
                is_done = True
        else:
            _do(client, change, reason=reason)
        yield change


def _replace_webhook(client: Client, change: WebhookChange) -> None:
    declared = change.declared
    if declared is not None:  # before the former one is gone: no event is lost
        fields = declared.fields
        client.webhooks.add(
            declared.read_url(),
            namespace=declared.namespace,
            lines=str(fields["lines"]),
            types=[str(one) for one in fields["types"]] if is_list(fields["types"]) else ["*"],
            form=str(fields["form"]),
            note=declared.name,
        )
    if change.former:
        client.webhooks.remove(change.former)


def _do(client: Client, change: ApplyChange, *, reason: str) -> None:
    place = change.place
    if change.webhook is not None:
        _replace_webhook(client, change.webhook)
    elif change.suite is not None:
        client.suites.push(change.suite.path)
    elif place.is_floor:
        client.floors.set(change.after, namespace=place.namespace or None, reason=reason)
    else:
        if change.action == "create":
            client.channels.create(place.line, place.channel)
        client.channels.set_policy(place.line, place.channel, dict(change.after), reason=reason)
