"""Channels: what each serves, its append-only ledger, and the state at any time in the past."""

import sqlalchemy as sa

from deltareg.db.clock import read_clock
from deltareg.db.queries import channels as queries
from deltareg.db.queries import versions as version_queries
from deltareg.db.queries.outcomes import verdict_facts
from deltareg.db.rows import Row
from deltareg.db.session import read, with_retry
from deltareg.errors import NotFound
from deltareg.policy import policy_digest, policy_fields
from deltareg.refs import LineRef, parse_channel
from deltareg.service.channel_policy import policy_of
from deltareg.service.clock import (
    parse_time,
    rfc3339,
    rfc3339_or_none,
)
from deltareg.service.freeze import end_of, tell_frozen, what_freezes
from deltareg.service.gate import FRESH_POLICY
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_line
from deltareg.service.reviews import moves_to_review
from deltareg.service.waivers import describe_waivers
from deltareg.wire import ChannelInfo, Page, RevisionInfo, Waiver

DEFAULT_CHANNELS = ("dev", "staging", "prod")


def add_default_channels(conn: sa.Connection, delta_id: int) -> None:
    """Give a new line the channels that every line has."""
    for name in DEFAULT_CHANNELS:
        queries.add_channel(conn, delta_id, name, policy=FRESH_POLICY)


def list_channels(registry: Registry, caller: Caller, line: LineRef) -> Page[ChannelInfo]:
    """List the channels of a line with what they serve."""
    caller.require("read")
    with read(registry.engine) as conn:
        rows = queries.channel_rows(conn, find_line(conn, line).id)
        items = [describe_channel(conn, line, row) for row in rows]
    return Page(items=items)


def show_channel(
    registry: Registry, caller: Caller, line: LineRef, name: str, *, at: str | None
) -> ChannelInfo:
    """Show what a channel serves, or served at a time.

    Raises:
        NotFound: No such channel, or it served nothing yet at that time.
    """
    caller.require("read")
    with read(registry.engine) as conn:
        row = find_channel(conn, find_line(conn, line), line, name)
        if at is None:
            return describe_channel(conn, line, row)
        at_us = parse_time(at)
        revision = queries.revision_at(conn, row.id, at_us=at_us)
        if revision is None:
            raise NotFound(
                f"{line}@{name} served nothing yet at {at}",
                fix=f"deltareg channel history {line} {name}",
            )
        return _describe(conn, line, row, revision, at_us=at_us)


def read_revision(registry: Registry, caller: Caller, line: LineRef, name: str) -> int | None:
    """Give the number of a channel's newest revision, for those who wait for the next."""
    caller.require("read")
    with read(registry.engine) as conn:
        return queries.newest_revision(conn, line.namespace, line.name, name)


def list_revisions(
    registry: Registry, caller: Caller, line: LineRef, name: str, *, cursor: str | None, limit: int
) -> Page[RevisionInfo]:
    """List a ledger, newest first."""
    caller.require("read")
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        row = find_channel(conn, find_line(conn, line), line, name)
        rows = queries.revision_rows(conn, row.id, before=before, limit=check_limit(limit) + 1)
    return page(
        rows, limit, key=lambda revision: revision.number,
        show=lambda revision: RevisionInfo(
            channel=name, revision=revision.number, kind=revision.kind, version=revision.version,
            digest=revision.digest, previous=revision.previous, actor=revision.actor,
            reason=revision.reason, verdicts=revision.verdict_ids, at=rfc3339(revision.created_at),
            until=rfc3339_or_none(revision.ends_at), break_glass=revision.break_glass,
            reviewed_by=revision.reviewed_by, request=revision.request,
        ),
    )  # fmt: skip


def create_channel(registry: Registry, caller: Caller, line: LineRef, name: str) -> ChannelInfo:
    """Make a channel with the policy that a fresh one has; one that exists is left as it is."""
    caller.require("promote")
    parse_channel(name)

    def transaction(conn: sa.Connection) -> ChannelInfo:
        delta = find_line(conn, line, lock=True)
        if queries.channel_row(conn, delta.id, name) is None:
            queries.add_channel(conn, delta.id, name, policy=FRESH_POLICY)
            subject = f"{line}@{name}"
            caller.record(conn, "channel.create", subject, before=None, after=FRESH_POLICY)
        return describe_channel(conn, line, find_channel(conn, delta, line, name))

    return with_retry(registry.engine, transaction)


def clear_quarantine(
    registry: Registry, caller: Caller, line: LineRef, name: str, version: int, *, reason: str
) -> ChannelInfo:
    """Let a version that was rolled back be promoted again, with a reason.

    Raises:
        NotFound: The version is not quarantined there.
    """
    caller.require("promote")

    def transaction(conn: sa.Connection) -> ChannelInfo:
        delta = find_line(conn, line)
        # Held as by a move: of two that clear at once one does, and none in the middle of a move.
        channel = find_channel(conn, delta, line, name, lock=True)
        row = version_queries.find_version(conn, delta.id, number=version)
        found = None if row is None else queries.standing_quarantine(conn, channel.id, row.id)
        if found is None:
            raise NotFound(f"{line}:v{version} is not quarantined on {name}")
        queries.clear_quarantine(conn, found, cleared_by=caller.principal_id, reason=reason)
        subject = f"{line}@{name}"
        before, after = {"quarantined": version}, {"cleared": version, "reason": reason}
        caller.record(conn, "channel.clear", subject, before=before, after=after)
        return describe_channel(conn, line, channel)

    return with_retry(registry.engine, transaction)


def describe_channel(conn: sa.Connection, line: LineRef, row: Row) -> ChannelInfo:
    """Show a channel as of now."""
    return _describe(conn, line, row, queries.revision_at(conn, row.id, number=row.revision))


def _describe(
    conn: sa.Connection, line: LineRef, row: Row, revision: Row | None, *, at_us: int | None = None
) -> ChannelInfo:
    policy = policy_of(row)
    now_us = read_clock(conn) if at_us is None else at_us
    frozen = what_freezes(row, revision, at_us=now_us)
    info = ChannelInfo(
        channel=row.name, revision=0, version=None, digest=None, ref=None,
        suites=[suite.name for suite in policy.suites], policy=policy_fields(policy),
        policy_digest=str(policy_digest(policy)), quarantined=queries.quarantined(conn, row.id),
        is_frozen=frozen is not None,
        frozen_because="" if frozen is None else tell_frozen(frozen, row.name),
        frozen_until=None if frozen is None else end_of(frozen),
        to_review=moves_to_review(conn, [row.id]).get(row.id, []),
    )  # fmt: skip
    if revision is None:
        return info
    number = revision.version
    return info.model_copy(
        update={
            "revision": revision.number, "version": number, "digest": revision.digest,
            "ref": None if number is None else f"{line}:v{number}",
            "is_revoked": revision.revoked_at is not None, "kind": revision.kind,
            "waivers": _waivers(conn, revision.version_id),
            "actor": revision.actor,
            "reason": revision.reason, "at": rfc3339(revision.created_at),
        }
    )  # fmt: skip


def _waivers(conn: sa.Connection, version_id: int | None) -> list[Waiver]:
    """Give the waivers that stand on verdicts of the version that is served."""
    if version_id is None:
        return []
    verdicts = [row.id for row in verdict_facts(conn, version_id)]
    found = describe_waivers(conn, verdicts)
    return [waiver for waivers in found.values() for waiver in waivers if waiver.stands]
