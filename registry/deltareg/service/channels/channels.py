"""Channels: what each serves, its append-only ledger, and its state at any time in the past."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.channels import channel_standing
from deltareg.db.channels import channels as queries
from deltareg.db.channels.rows import ChannelRow, RevisionRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read, with_retry
from deltareg.db.sql.together import CombinedResult
from deltareg.db.verdicts.rows import VersionWaiverRow
from deltareg.errors import NotFound
from deltareg.gate.new_base import name_base
from deltareg.gate.policy import policy_digest, policy_fields
from deltareg.refs import LineRef, parse_channel
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.channels.fitness import unfitness
from deltareg.service.channels.gate import FRESH_POLICY
from deltareg.service.channels.policies import describe_floors
from deltareg.service.channels.reviews import describe_broken, moves_to_review
from deltareg.service.clock import parse_time, rfc3339, rfc3339_or_none
from deltareg.service.events import Action
from deltareg.service.ledger.channel_policy import own_policy_of, policy_of
from deltareg.service.ledger.freeze import end_of, tell_frozen, what_freezes
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_line
from deltareg.service.verdicts.waivers import show_waivers, standing_on_versions
from deltareg.service.workflow import describe_workflow
from deltareg.wire import ChannelInfo, GlassBroken, Page, RevisionInfo, Waiver

DEFAULT_CHANNELS = ("dev", "staging", "prod")


def add_default_channels(conn: sa.Connection, delta_id: int) -> None:
    """Give a new line the channels that every line has."""
    for name in DEFAULT_CHANNELS:
        queries.add_channel(conn, delta_id, name, policy=FRESH_POLICY)


def list_channels(registry: Registry, caller: Caller, line: LineRef) -> Page[ChannelInfo]:
    """List the channels of a line with the version that each serves."""
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        rows = queries.channel_rows(conn, find_line(conn, caller, line).id)
        return Page(items=_describe_now(conn, line, rows))


def show_channel(registry: Registry, caller: Caller, line: LineRef, name: str, *, at: str | None) -> ChannelInfo:
    """Show what a channel serves now, or served at a time.

    Raises:
        NotFound: There is no such channel, or it served nothing yet at that time.
    """
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        row = find_channel(conn, caller, line, name)
        if at is None:
            return describe_channel(conn, line, row)
        at_us = parse_time(at)
        revision = queries.revision_at(conn, row.id, at_us=at_us)
        if revision is None:
            raise NotFound(f"{line}@{name} served nothing yet at {at}", fix=f"deltareg channel history {line} {name}")
        odd = _ask_odd(conn, row, revision)
        return _describe(line, [(row, revision)], odd, at_us=at_us)[0]


def read_revision(registry: Registry, caller: Caller, line: LineRef, name: str) -> int | None:
    """Return the number of a channel's newest revision, for those who wait for the next."""
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        return queries.newest_revision(conn, line.namespace, line.name, name)


def list_revisions(
    registry: Registry, caller: Caller, line: LineRef, name: str, *, cursor: str | None, limit: int
) -> Page[RevisionInfo]:
    """List the ledger of a channel, newest first."""
    caller.require(Right.READ, on=line)
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        row = find_channel(conn, caller, line, name)
        rows = queries.revision_rows(conn, row.id, before=before, limit=check_limit(limit) + 1)
    return page(
        rows, limit, key=lambda revision: revision.number, show=lambda revision: describe_revision(line, name, revision)
    )


def describe_revision(line: LineRef, channel: str, row: RevisionRow) -> RevisionInfo:
    """Describe an entry in the ledger of a channel."""
    return RevisionInfo(
        channel=channel,
        revision=row.number,
        kind=row.kind,
        version=row.version,
        digest=row.digest,
        previous=row.previous,
        actor=row.actor,
        via=describe_workflow(row.claims),
        reason=row.reason,
        verdicts=row.verdict_ids,
        at=rfc3339(row.created_at),
        until=rfc3339_or_none(row.ends_at),
        break_glass=row.break_glass,
        reviewed_by=row.reviewed_by,
        review=row.review,
        request=row.request,
        base=_name_base(row, line),
        ref="" if row.version is None else f"{line}:v{row.version}",
    )


def _name_base(row: RevisionRow, line: LineRef) -> str:
    return "" if row.base_root is None else name_base(row.base_name or "", row.base_root, reader=str(line))


def create_channel(registry: Registry, caller: Caller, line: LineRef, name: str) -> ChannelInfo:
    """Create a channel with the default policy; an existing channel stays as it is."""
    caller.require(Right.PROMOTE, on=Channel(line, name))
    parse_channel(name)

    def transaction(conn: sa.Connection) -> ChannelInfo:
        delta = find_line(conn, caller, line, lock=True)
        if queries.channel_row(conn, delta.id, name) is None:
            if queries.restore_channel(conn, delta.id, name):  # with its policy and its ledger
                before, after = {"deleted": True}, {"deleted": False}
                caller.record(conn, Action.CHANNEL_CREATE, f"{line}@{name}", on=line, before=before, after=after)
                return describe_channel(conn, line, find_channel(conn, caller, line, name))
            queries.add_channel(conn, delta.id, name, policy=FRESH_POLICY)
            subject = f"{line}@{name}"
            caller.record(conn, Action.CHANNEL_CREATE, subject, on=line, before=None, after=FRESH_POLICY)
        return describe_channel(conn, line, find_channel(conn, caller, line, name))

    return with_retry(registry.engine, transaction)


def clear_quarantine(
    registry: Registry, caller: Caller, line: LineRef, name: str, version: int, *, reason: str
) -> ChannelInfo:
    """Lift the quarantine of a version that was rolled back, with a reason.

    Raises:
        NotFound: The version is not quarantined there.
    """
    caller.require(Right.PROMOTE, on=Channel(line, name))

    def transaction(conn: sa.Connection) -> ChannelInfo:
        # Held as by a move: of two that clear at once one does, and none in the middle of a move.
        channel = find_channel(conn, caller, line, name, lock=True)
        row = version_queries.find_version(conn, channel.delta_id, number=version)
        quarantine = None if row is None else queries.standing_quarantine(conn, channel.id, row.id)
        if quarantine is None:
            raise NotFound(f"{line}:v{version} is not quarantined on {name}")
        queries.clear_quarantine(conn, quarantine, cleared_by=caller.principal_id, reason=reason)
        subject = f"{line}@{name}"
        before, after = {"quarantined": version}, {"cleared": version, "reason": reason}
        caller.record(conn, Action.CHANNEL_CLEAR, subject, on=line, before=before, after=after)
        return describe_channel(conn, line, channel)

    return with_retry(registry.engine, transaction)


def describe_channel(conn: sa.Connection, line: LineRef, row: ChannelRow) -> ChannelInfo:
    """Describe a channel as it is now."""
    return _describe_now(conn, line, [row])[0]


def _describe_now(conn: sa.Connection, line: LineRef, rows: Sequence[ChannelRow]) -> list[ChannelInfo]:
    if not rows:
        return []
    one = rows[0].id if len(rows) == 1 else channel_standing.ALL
    beside = channel_standing.standing(conn, rows[0].delta_id, channel_id=one)
    newest = {row.channel_id: row for row in beside.all(channel_standing.NEWEST)}
    now_us = beside.all(channel_standing.MOMENT)[0].now
    newest_of_each = [(row, newest.get(row.id)) for row in rows]
    infos = _describe(line, newest_of_each, _odd_of(beside), at_us=now_us)
    version_ids = {row.id: newest.version_id for row, newest in newest_of_each if newest and newest.version_id}
    unfit = unfitness(conn, version_ids, rows, now_us=now_us)
    return [info.model_copy(update={"unfit": unfit.get(row.id, [])}) for info, row in zip(infos, rows, strict=True)]


@dataclass(frozen=True, slots=True)
class _Odd:
    """What is unusual about channels: quarantines and reviews by channel, waivers by version."""

    quarantined: Mapping[int, Sequence[int]]
    to_review: Mapping[int, Sequence[GlassBroken]]
    waivers: Mapping[int, Sequence[Waiver]]


def _odd_of(beside: CombinedResult) -> _Odd:
    quarantined: dict[int, list[int]] = {}
    for row in beside.all(channel_standing.QUARANTINED):
        quarantined.setdefault(row.channel_id, []).append(row.number)
    to_review: dict[int, list[GlassBroken]] = {}
    for move in beside.all(channel_standing.TO_REVIEW):
        to_review.setdefault(move.channel_id, []).append(describe_broken(move))
    waivers: dict[int, list[VersionWaiverRow]] = {}
    for waiver in beside.all(channel_standing.WAIVERS):
        waivers.setdefault(waiver.version_id, []).append(waiver)
    return _Odd(quarantined, to_review, {key: show_waivers(r) for key, r in waivers.items()})


def _ask_odd(conn: sa.Connection, row: ChannelRow, newest: RevisionRow) -> _Odd:
    version_ids = [] if newest.version_id is None else [newest.version_id]
    return _Odd(
        queries.quarantined_numbers(conn, [row.id]),
        moves_to_review(conn, [row.id]),
        standing_on_versions(conn, version_ids),
    )


def _describe(
    line: LineRef, found: Sequence[tuple[ChannelRow, RevisionRow | None]], odd: _Odd, *, at_us: int
) -> list[ChannelInfo]:
    """Describe channels with the revisions that were newest at a time."""
    version_ids = {row.id: newest.version_id for row, newest in found if newest and newest.version_id}
    return [
        _show(line, row, newest, at_us=at_us).model_copy(
            update={
                "quarantined": odd.quarantined.get(row.id, []),
                "to_review": odd.to_review.get(row.id, []),
                "waivers": [
                    waiver
                    for waiver in odd.waivers.get(version_ids.get(row.id, 0), [])
                    if waiver.channel in {"", row.name}  # one for another channel says nothing here
                ],
            }
        )
        for row, newest in found
    ]


def _show(line: LineRef, row: ChannelRow, newest: RevisionRow | None, *, at_us: int) -> ChannelInfo:
    policy = policy_of(row)
    frozen = what_freezes(row, newest, at_us=at_us)
    info = ChannelInfo(
        channel=row.name,
        revision=0,
        version=None,
        digest=None,
        ref=None,
        suites=[suite.name for suite in policy.suites],
        policy=policy_fields(own_policy_of(row)),
        floors=describe_floors(line, row),
        policy_digest=str(policy_digest(policy)),
        is_frozen=frozen is not None,
        frozen_because="" if frozen is None else tell_frozen(frozen, row.name),
        frozen_until=None if frozen is None else end_of(frozen),
    )
    if newest is None:
        return info
    number = newest.version
    return info.model_copy(
        update={
            "revision": newest.number,
            "version": number,
            "digest": newest.digest,
            "ref": None if number is None else f"{line}:v{number}",
            "is_revoked": newest.revoked_at is not None,
            "kind": newest.kind,
            "actor": newest.actor,
            "reason": newest.reason,
            "at": rfc3339(newest.created_at),
            "base": _name_base(newest, line),
        }
    )
