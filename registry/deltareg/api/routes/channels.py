"""Channels: what they serve, their ledgers, promotions and rollbacks."""

from functools import partial
from typing import Annotated

import anyio
from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from deltareg.api.auth import SECURITY, By, ByReading, InRegistry
from deltareg.api.closed import closed_router, in_thread, reading_router
from deltareg.api.conditions import answer, json_answer, policy_tag, seen_policy, seen_revision
from deltareg.api.idempotency import once_and_kept
from deltareg.api.parameters import Number, Reason
from deltareg.api.routes.deltas import ChannelName, Line
from deltareg.refs import LineRef, parse_name
from deltareg.service.access.tokens import find_bearer
from deltareg.service.channels import channels as service
from deltareg.service.channels import policies, summaries
from deltareg.service.channels.auto_promote import promote_if_passed
from deltareg.service.channels.move import move_channel
from deltareg.service.channels.readiness import show_readiness
from deltareg.service.channels.reviews import review_move
from deltareg.service.names import channels as names
from deltareg.service.registry import Caller
from deltareg.streaming import is_in_vain
from deltareg.wire import (
    ChannelInfo,
    ChannelMove,
    GateSummary,
    GlassBroken,
    MoveResult,
    NameChange,
    Page,
    PolicyChange,
    PolicyInfo,
    PolicySet,
    ReadinessInfo,
    Rename,
    Review,
    RevisionInfo,
)

router = closed_router("channels", prefix="/deltas/{ns}/{name}/channels")
quick = reading_router("channels", prefix="/deltas/{ns}/{name}/channels")
_PAUSE_S, _FULL_LOOK_S = 0.2, 5.0


@router.get("")
def list_channels(registry: InRegistry, by: By, line: Line) -> Page[ChannelInfo]:
    """List the channels of a line with what they serve."""
    return service.list_channels(registry, by, line)


class ChannelQuery(BaseModel):
    """The query of what a channel serves."""

    at: str | None = None
    wait: float = Field(0, ge=0, le=60)


@quick.get("/{channel}", response_model=ChannelInfo, openapi_extra=SECURITY)
async def show_channel(
    request: Request, by: ByReading, asked: Annotated[ChannelQuery, Query()], ns: str, name: str, channel: str
) -> Response:
    """Show what a channel serves, or with `at` what it served then.

    With `wait` and `If-None-Match`, the answer comes as soon as the channel is another than the
    caller has seen, and is 304 when it was not for so many seconds. A wait holds no thread.
    """

    def look() -> tuple[Caller, LineRef, ChannelInfo]:
        caller = by(find_bearer, lambda _conn, caller, _nothing: caller)
        line = caller.current_line(LineRef(parse_name(ns, "namespace"), parse_name(name)))
        now = caller.current_channel(line, channel)
        return caller, line, service.show_channel(by.registry, caller, line, now, at=asked.at)

    caller, line, info = await in_thread(look)
    deadline = anyio.current_time() + (asked.wait if asked.at is None else 0)
    # Moves are looked for often, by one short query; all else (a revocation, a freeze that ends, a token
    # that does) is found by a full look now and then.
    while answer(request, info).status_code == 304 and anyio.current_time() < deadline:
        full_look = min(anyio.current_time() + _FULL_LOOK_S, deadline)
        revision: int | None = info.revision
        while revision == info.revision and anyio.current_time() < full_look:
            await anyio.sleep(_PAUSE_S)
            if await is_in_vain(request):
                return answer(request, info)
            revision = await in_thread(partial(service.read_revision, by.registry, caller, line, info.channel))
        caller, line, info = await in_thread(look)
    return answer(request, info)


@router.put("/{channel}")
def create_channel(registry: InRegistry, by: By, line: Line, channel: ChannelName) -> ChannelInfo:
    """Make a channel; one that exists is left as it is."""
    return service.create_channel(registry, by, line, channel)


@router.delete("/{channel}")
def delete_channel(
    registry: InRegistry, by: By, line: Line, channel: ChannelName, *, dry_run: bool = False
) -> ChannelInfo:
    """Delete a channel that nobody follows; its ledger stays. With `dry_run` only look whether it may."""
    return names.delete_channel(registry, by, line, channel, dry_run=dry_run)


@router.post("/{channel}:rename")
def rename_channel(registry: InRegistry, by: By, line: Line, channel: ChannelName, body: Rename) -> NameChange:
    """Give the channel another name; its former one leads on."""
    return names.rename_channel(registry, by, line, channel, body)


@router.get("/{channel}/policy", response_model=PolicyInfo)
def show_policy(registry: InRegistry, by: By, line: Line, channel: ChannelName) -> Response:
    """Show what a channel asks; the ETag is what replacing it needs."""
    info = policies.show_policy(registry, by, line, channel)
    return json_answer(info, headers={"ETag": policy_tag(info.digest)})


@router.put("/{channel}/policy", response_model=PolicyChange)
def set_policy(
    request: Request, registry: InRegistry, by: By, line: Line, channel: ChannelName, body: PolicySet
) -> Response:
    """Replace the policy whole; `If-Match` holds the ETag of the one that stands."""
    change = policies.set_policy(registry, by, line, channel, body, is_seen=seen_policy(request))
    if change.is_changed and not body.dry_run:
        promote_if_passed(registry, line)
    return json_answer(change, headers={"ETag": policy_tag(change.digest)})


@router.get("/{channel}/revisions")
def list_revisions(
    registry: InRegistry, by: By, line: Line, channel: ChannelName, cursor: str | None = None, limit: int = 50
) -> Page[RevisionInfo]:
    """List a channel's ledger, newest first."""
    return service.list_revisions(registry, by, line, channel, cursor=cursor, limit=limit)


@router.get("/{channel}/revisions/{number}/summary")
def show_summary(registry: InRegistry, by: By, line: Line, channel: ChannelName, number: Number) -> GateSummary:
    """Give what the server signed when it made a promotion: why the gate let it through."""
    return summaries.show_summary(registry, by, line, channel, number)


@router.post("/{channel}/revisions", response_model=MoveResult)
def move(
    request: Request, registry: InRegistry, by: By, line: Line, channel: ChannelName, body: ChannelMove
) -> Response:
    """Promote, roll back, freeze or unfreeze; `If-Match` holds the channel's ETag as last seen."""
    seen = seen_revision(request)
    return once_and_kept(
        request, registry, by, body, lambda keep: move_channel(registry, by, line, channel, body, seen=seen, keep=keep)
    )


@router.get("/{channel}/readiness")
def readiness(registry: InRegistry, by: By, line: Line, channel: ChannelName) -> ReadinessInfo:
    """Say where a rollback would go now, and whether it would get there."""
    return show_readiness(registry, by, line, channel)


@router.post("/{channel}/revisions/{number}:review")
def review(registry: InRegistry, by: By, line: Line, channel: ChannelName, number: Number, body: Review) -> GlassBroken:
    """Review a move that broke the glass, as somebody other than who made it."""
    return review_move(registry, by, line, channel, number, message=body.message)


@router.delete("/{channel}/quarantine/{version}")
def clear_quarantine(
    registry: InRegistry, by: By, line: Line, channel: ChannelName, version: Number, reason: Reason
) -> ChannelInfo:
    """Let a version that was rolled back be promoted again; a reason is required."""
    return service.clear_quarantine(registry, by, line, channel, version, reason=reason)
