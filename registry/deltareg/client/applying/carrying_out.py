"""Applies a folder to a registry: suites first, as policies name them; then floors and channels."""

from collections.abc import Iterator

from deltareg.client.applying.comparing import ApplyChange, ApplyPlan
from deltareg.client.client import Client


def carry_out(client: Client, plan: ApplyPlan, *, reason: str) -> Iterator[ApplyChange]:
    """Apply a plan one change at a time; yield each change once it is made.

    A change that fails stops it. The changes made so far stay, and applying the same folder again
    continues.

    Args:
        client: The registry.
        plan: What to do.
        reason: The reason, which is kept with each policy.
    """
    for change in plan.changes:
        _do(client, change, reason=reason)
        yield change


def _do(client: Client, change: ApplyChange, *, reason: str) -> None:
    place = change.place
    if change.suite is not None:
        client.suites.push(change.suite.path)
    elif place.is_floor:
        client.floors.set(change.after, namespace=place.namespace or None, reason=reason)
    else:
        if change.action == "create":
            client.channels.create(place.line, place.channel)
        client.channels.set_policy(place.line, place.channel, dict(change.after), reason=reason)
