"""Makes a registry what a folder says: suites first, which policies name; then floors, channels."""

from collections.abc import Iterator

from deltareg.client.applying.comparing import ApplyChange, ApplyPlan
from deltareg.client.client import Client


def carry_out(client: Client, plan: ApplyPlan, *, reason: str) -> Iterator[ApplyChange]:
    """Do what was planned, a change at a time; gives each once it is done.

    What fails stops it there. What was done stays, and the same folder applied again goes on.

    Args:
        client: The registry.
        plan: What to do.
        reason: Why; it is kept with each policy.
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
