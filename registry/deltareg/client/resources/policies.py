"""Policies of channels from the client's side: read, and replaced by who has seen what stands."""

from deltareg.client.context import Context
from deltareg.client.resources.deltas import line_path
from deltareg.refs import LineRef, parse_channel
from deltareg.wire import PolicyChange, PolicyInfo, PolicySet, request_of


def show(context: Context, line: LineRef, name: str) -> PolicyInfo:
    """Show the policy of a channel."""
    return context.api.get(_path(line, name), PolicyInfo)


def replace(
    context: Context,
    line: LineRef,
    name: str,
    policy: dict[str, object],
    *,
    reason: str,
    dry_run: bool,
) -> PolicyChange:
    """Replace the policy of a channel, or say what that would change.

    Raises:
        StaleRevision: Somebody else replaced it meanwhile.
    """
    seen = show(context, line, name)
    wanted = request_of(PolicySet, policy=policy, reason=reason, dry_run=dry_run)
    return context.api.request(
        "PUT", _path(line, name), PolicyChange, body=wanted,
        headers={"If-Match": f'"{seen.digest}"'},
    )  # fmt: skip


def _path(line: LineRef, name: str) -> str:
    return f"{line_path(line)}/channels/{parse_channel(name)}/policy"
