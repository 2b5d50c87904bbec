"""Gathering what is known of the version that a rollback of a channel would go to."""

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from deltareg.db.clock import US_PER_S, read_clock
from deltareg.db.queries import bases as base_queries
from deltareg.db.queries import packs as pack_queries
from deltareg.db.queries import versions as version_queries
from deltareg.db.queries.outcomes import verdict_facts
from deltareg.db.rows import Row
from deltareg.db.session import read
from deltareg.errors import StoreUnavailable
from deltareg.lifecycle import freeze_window, is_in_window
from deltareg.readiness import ReadyLight, TargetFacts, gravest, judge_readiness
from deltareg.refs import LineRef
from deltareg.service.channel_policy import policy_of
from deltareg.service.describe import ref_of
from deltareg.service.freeze import standing_freeze, tell_freeze
from deltareg.service.promote import unmet_but_approvals
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_line
from deltareg.service.revocations import tell_revocation
from deltareg.service.roll_back import distance, earlier, read_ledger
from deltareg.service.stacks import revoked_below
from deltareg.service.terms import verdicts_on_terms
from deltareg.store import BlobStore
from deltareg.wire import ReadinessInfo, ReadinessLight

_MOST_ASKED = 64


def show_readiness(registry: Registry, caller: Caller, line: LineRef, name: str) -> ReadinessInfo:
    """Say where a rollback of a channel would go now, and whether it would get there."""
    caller.require("read")
    with read(registry.engine) as conn:
        channel = find_channel(conn, find_line(conn, line), line, name)
        ledger = read_ledger(conn, channel)
        target = next(iter(earlier(ledger)), None)
        if target is None:
            return _nowhere(name)
        version = version_queries.version_by_id(conn, target.version_id)
        packs = pack_queries.packs_of_version(conn, version.id)
        facts = _gather(conn, channel, ledger, target, version, packs)
        freeze = standing_freeze(conn, channel)
        window = freeze_window(policy_of(channel), now_us=read_clock(conn))
        frozen = window if freeze is None else tell_freeze(freeze, name)
    facts = replace(facts, objects_lost=_ask_store(registry.store, packs))
    lights = judge_readiness(facts, frozen=frozen)
    return ReadinessInfo(
        channel=name, ref=facts.ref, version=version.number, revision=target.number,
        ready=gravest(lights), lights=[_light(light) for light in lights],
    )  # fmt: skip


def _gather(
    conn: sa.Connection, channel: Row, ledger: Sequence[Row], target: Row, version: Row,
    packs: Sequence[Row],
) -> TargetFacts:  # fmt: skip
    now_us = read_clock(conn)
    behind, age_s = distance(ledger, target, now_us=now_us)
    is_inside = is_in_window(behind=behind, age_s=age_s, window=policy_of(channel).rollback)
    asked = {suite.name for suite in policy_of(channel).suites}
    newest = next((v for v in verdict_facts(conn, version.id) if v.suite in asked), None)
    base = base_queries.base_of(conn, version)
    unmet = () if is_inside else unmet_but_approvals(conn, version, channel)
    return TargetFacts(
        ref=ref_of(version), is_deleted=version.deleted_at is not None,
        revoked=_tell_revoked(conn, version), packs=len(packs),
        packs_lost=sum(pack.state != "live" for pack in packs), objects_lost=None,
        base="" if base is None else base.name,
        is_base_stored=base is not None and bool(base.stored_bytes),
        verdict="" if newest is None else f"{newest.suite}: {newest.verdict}",
        verdict_age_s=0.0 if newest is None else (now_us - newest.created_at) / US_PER_S,
        is_verdict_counting=len(verdicts_on_terms(conn, channel, version)) == len(asked),
        behind=behind, age_s=age_s, is_in_window=is_inside,
        unmet=tuple(one.message for one in unmet if one.rule not in {"quarantined", "frozen"}),
    )  # fmt: skip


def _ask_store(store: BlobStore, packs: Sequence[Row]) -> int | None:
    """Count what the store lacks; None where asking would take long, or it does not answer."""
    keys = [pack.physical_key for pack in packs]
    # A store that signs URLs is across a network, and this is asked at every look at a channel.
    if not 0 < len(keys) <= _MOST_ASKED or store.url(keys[0], expires_s=60) is not None:
        return None
    try:
        return sum(store.size(key) is None for key in keys)
    except StoreUnavailable:
        return None


def _tell_revoked(conn: sa.Connection, version: Row) -> str:
    ref = ref_of(version)
    if version.revoked_at is not None:
        return f"{ref} was {tell_revocation(conn, version)}"
    below = revoked_below(conn, version)
    return f"{ref} stands on {below}" if below else ""


def _nowhere(name: str) -> ReadinessInfo:
    told = "nothing was served before what is served now"
    light = ReadinessLight(name="version", light="no", message=told)
    return ReadinessInfo(
        channel=name, ref=None, version=None, revision=None, ready="no", lights=[light]
    )


def _light(light: ReadyLight) -> ReadinessLight:
    return ReadinessLight(name=light.name, light=light.light, message=light.message)
