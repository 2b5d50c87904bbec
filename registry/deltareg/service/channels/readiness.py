"""Gathering what is known of the version that a rollback of a channel would go to."""

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from deltareg.db.clock import US_PER_S, read_clock
from deltareg.db.queries import bases as base_queries
from deltareg.db.queries import channels as channel_queries
from deltareg.db.queries import packs as pack_queries
from deltareg.db.queries import versions as version_queries
from deltareg.db.rows import ChannelRow, LedgerRow, PackStateRow, VersionRow, present
from deltareg.db.session import read
from deltareg.errors import StoreUnavailable
from deltareg.gate.judge import Candidate, is_in_window
from deltareg.gate.readiness import ReadyLight, TargetFacts, gravest, judge_readiness
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.channels.gate import gather
from deltareg.service.channels.roll_back import distance, step_back
from deltareg.service.ledger.freeze import tell_frozen, what_freezes
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel
from deltareg.store import BlobStore
from deltareg.wire import ReadinessInfo, ReadinessLight

_MOST_ASKED = 64


def show_readiness(registry: Registry, caller: Caller, line: LineRef, name: str) -> ReadinessInfo:
    """Say where a rollback of a channel would go now, and whether it would get there."""
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        channel = find_channel(conn, caller, line, name)
        target = step_back(conn, channel)
        if target is None:
            return _nowhere(name)
        version = version_queries.version_by_id(conn, present(target.version_id))
        packs = pack_queries.packs_of_version(conn, version.id)
        facts = _gather(conn, channel, target, version, packs)
        newest = channel_queries.revision_at(conn, channel.id, number=channel.revision)
        frozen = what_freezes(channel, newest, at_us=read_clock(conn))
    facts = replace(facts, objects_lost=_ask_store(registry.store, packs))
    lights = judge_readiness(facts, frozen="" if frozen is None else tell_frozen(frozen, name))
    return ReadinessInfo(
        channel=name, ref=facts.ref, version=version.number, revision=target.number,
        ready=gravest(lights), lights=[_light(light) for light in lights],
    )  # fmt: skip


def _gather(
    conn: sa.Connection, channel: ChannelRow, target: LedgerRow, version: VersionRow,
    packs: Sequence[PackStateRow],
) -> TargetFacts:  # fmt: skip
    case = gather(conn, version, channel)
    now_us = case.now.now_us
    behind, age_s = distance(conn, channel, target, now_us=now_us)
    is_inside = is_in_window(behind=behind, age_s=age_s, window=case.policy.rollback)
    asked = {suite.name for suite in case.policy.suites}
    own = [v for v in case.verdicts if v.base == version.base_root]
    newest = next((v for v in own if v.suite in asked), None)
    base = base_queries.base_of(conn, version)
    everything = case.unmet("approvals", "quarantined", "frozen")
    unmet = () if is_inside else everything
    return TargetFacts(
        ref=case.candidate.ref, is_deleted=case.candidate.is_deleted,
        revoked=_tell_revoked(case.candidate), packs=len(packs),
        packs_lost=sum(pack.state != "live" for pack in packs), objects_lost=None,
        base="" if base is None else base.name,
        is_base_stored=base is not None and bool(base.stored_bytes),
        verdict="" if newest is None else f"{newest.suite}: {newest.outcome}",
        verdict_age_s=0.0 if newest is None else (now_us - newest.created_us) / US_PER_S,
        is_verdict_counting=len(case.passes()) == len(asked),
        behind=behind, age_s=age_s, is_in_window=is_inside,
        unmet=tuple(one.message for one in unmet),
        failed=tuple(one.message for one in everything if one.rule == "failed"),
    )  # fmt: skip


def _ask_store(store: BlobStore, packs: Sequence[PackStateRow]) -> int | None:
    """Count what the store lacks; None where asking would take long, or it does not answer."""
    keys = [pack.physical_key for pack in packs]
    # A store that signs URLs is across a network, and this is asked at every look at a channel.
    if not 0 < len(keys) <= _MOST_ASKED or store.url(keys[0], expires_s=60) is not None:
        return None
    try:
        return sum(store.size(key) is None for key in keys)
    except StoreUnavailable:
        return None


def _tell_revoked(candidate: Candidate) -> str:
    if candidate.proof == "corrupt":
        return f"{candidate.ref} is corrupt: what is stored is not what it says"
    if candidate.corrupt_below:
        return f"{candidate.ref} {candidate.corrupt_below}"
    if candidate.revoked:
        return f"{candidate.ref} was {candidate.revoked}"
    below = candidate.revoked_below
    return f"{candidate.ref} {below}" if below else ""


def _nowhere(name: str) -> ReadinessInfo:
    told = "nothing was served before what is served now"
    light = ReadinessLight(name="version", light="no", message=told)
    return ReadinessInfo(
        channel=name, ref=None, version=None, revision=None, ready="no", lights=[light]
    )


def _light(light: ReadyLight) -> ReadinessLight:
    return ReadinessLight(name=light.name, light=light.light, message=light.message)
