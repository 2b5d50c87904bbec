"""Channels from the client's side: every move says which revision it has seen."""

import uuid
from dataclasses import dataclass

from deltareg.client.context import Context
from deltareg.client.resources.deltas import line_path
from deltareg.client.resources.resolving import resolve, version_path
from deltareg.errors import NotFound, StaleRevision
from deltareg.refs import LineRef, Ref, parse_channel
from deltareg.wire import (
    ChannelInfo,
    ChannelMove,
    GateAnswer,
    GlassBroken,
    MoveResult,
    Page,
    ReadinessInfo,
    Review,
    RevisionInfo,
    request_of,
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a rollback goes: a version, a ledger revision, or so many steps back (default one)."""

    version: int | None = None
    revision: int | None = None
    steps: int | None = None


def gate(context: Context, ref: Ref, channel: str) -> GateAnswer:
    """Say whether a version may go to a channel, and if not what is missing."""
    version = resolve(context, ref, bare="newest")
    path = f"{version_path(Ref.parse(version.ref))}/gate"
    return context.api.get(path, GateAnswer, channel=parse_channel(channel))


def promote(
    context: Context,
    ref: Ref,
    channel: str,
    *,
    reason: str,
    if_current: int | None,
    break_glass: bool,
) -> MoveResult:
    """Move a channel to a version that passes its gate.

    Raises:
        ApprovalDue: It moves once others have approved the request that the error names.
        StaleRevision: `if_current` names another version than the channel serves.
    """
    version = resolve(context, ref, bare="newest")
    current = show(context, ref.line, channel, at=None)
    if if_current is not None and current.version != if_current:
        raise StaleRevision(
            f"{ref.line}@{channel} serves v{current.version}, not v{if_current}",
            fix=f"deltareg channel show {ref.line} {channel}",
        )
    move = request_of(
        ChannelMove, kind="promote", version=version.version, reason=reason,
        break_glass=break_glass,
    )  # fmt: skip
    return _move(context, ref.line, channel, current, move)


def rollback(
    context: Context,
    line: LineRef,
    channel: str,
    target: Target,
    *,
    reason: str,
    break_glass: bool,
    dry_run: bool,
) -> MoveResult:
    """Move a channel back to a version that it served before."""
    current = show(context, line, channel, at=None)
    move = request_of(
        ChannelMove, kind="rollback", version=target.version, revision=target.revision,
        steps=target.steps, reason=reason, break_glass=break_glass, dry_run=dry_run,
    )  # fmt: skip
    return _move(context, line, channel, current, move)


def freeze(
    context: Context, line: LineRef, channel: str, *, reason: str, until: str | None
) -> MoveResult:
    """Let nothing move a channel until a time, or until it is unfrozen."""
    move = request_of(ChannelMove, kind="freeze", reason=reason, until=until)
    return _move(context, line, channel, show(context, line, channel, at=None), move)


def unfreeze(context: Context, line: LineRef, channel: str, *, reason: str) -> MoveResult:
    """Let a channel be moved again.

    Raises:
        Conflict: It is not frozen.
    """
    move = request_of(ChannelMove, kind="unfreeze", reason=reason)
    return _move(context, line, channel, show(context, line, channel, at=None), move)


def list_channels(context: Context, line: LineRef) -> Page[ChannelInfo]:
    """List the channels of a line with what they serve."""
    return context.api.get(f"{line_path(line)}/channels", Page[ChannelInfo])


def show(context: Context, line: LineRef, name: str, *, at: str | None) -> ChannelInfo:
    """Show what a channel serves, or served at a time."""
    return context.api.get(_path(line, name), ChannelInfo, at=at)


def readiness(context: Context, line: LineRef, name: str) -> ReadinessInfo:
    """Say where a rollback would go now, and whether it would get there."""
    return context.api.get(f"{_path(line, name)}/readiness", ReadinessInfo)


def review(
    context: Context, line: LineRef, name: str, revision: int, *, message: str
) -> GlassBroken:
    """Close a move that broke the glass, as somebody else than who made it.

    Raises:
        Forbidden: By who made it.
    """
    path = f"{_path(line, name)}/revisions/{revision}:review"
    return context.api.post(path, request_of(Review, message=message), GlassBroken)


def create(context: Context, line: LineRef, name: str) -> ChannelInfo:
    """Make a channel; one that exists is left as it is."""
    return context.api.request("PUT", _path(line, name), ChannelInfo)


def history(
    context: Context, line: LineRef, name: str, *, cursor: str | None, limit: int
) -> Page[RevisionInfo]:
    """List a channel's ledger, newest first."""
    path = f"{_path(line, name)}/revisions"
    return context.api.get(path, Page[RevisionInfo], cursor=cursor, limit=limit)


def clear(context: Context, line: LineRef, name: str, version: int, *, reason: str) -> ChannelInfo:
    """Let a version that was rolled back be promoted again.

    Raises:
        NotFound: It is not quarantined there.
    """
    if version not in show(context, line, name, at=None).quarantined:
        raise NotFound(f"{line}:v{version} is not quarantined on {name}")
    path = f"{_path(line, name)}/quarantine/{version}"
    try:
        return context.api.request("DELETE", path, ChannelInfo, query={"reason": reason})
    except NotFound:  # cleared meanwhile, perhaps by our own request, whose answer was lost
        return show(context, line, name, at=None)


def _move(
    context: Context, line: LineRef, channel: str, current: ChannelInfo, move: ChannelMove
) -> MoveResult:
    path = f"{_path(line, channel)}/revisions"
    # With a key of its own, a move whose answer was lost is answered again and not made twice.
    headers = {"If-Match": f'"r{current.revision}"', "Idempotency-Key": uuid.uuid4().hex}
    return context.api.post(path, move, MoveResult, headers=headers)


def _path(line: LineRef, name: str) -> str:
    return f"{line_path(line)}/channels/{parse_channel(name)}"
