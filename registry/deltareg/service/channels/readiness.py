"""Gathering the facts about the version that a rollback of a channel would go to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from deltareg.db.channels import before_gate
from deltareg.db.channels.ledger import ledger_rows
from deltareg.db.channels.rows import ChannelRow, LedgerRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.sql.row_protocols import present
from deltareg.db.sql.together import CombinedResult
from deltareg.db.storage.rows import PackStateRow
from deltareg.errors import Blocked, Corrupt, StoreUnavailable
from deltareg.gate.judge import Candidate, is_in_window
from deltareg.gate.readiness import ReadyLight, TargetFacts, gravest, judge_readiness
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.channels.gate import GateCase, gather
from deltareg.service.channels.roll_back import NEAR, distance, step_back
from deltareg.service.channels.serve import check_standing
from deltareg.service.ledger.freeze import tell_frozen, what_freezes
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel
from deltareg.store import BlobStore
from deltareg.wire import ReadinessInfo, ReadinessLight

_MOST_ASKED = 64


@dataclass(frozen=True, slots=True)
class RollbackSnapshot:
    """The facts about the rollback of a channel, from one snapshot of the database.

    Attributes:
        version: The version that it goes to.
        revision: The number of the entry that served it.
        packs: The packs that the version needs.
        facts: The facts that decide about readiness.
        frozen: What blocks moves now, in words; empty for nothing.
        quarantined: The numbers of the versions that are quarantined on the channel.
        bases: The names of the bases of the version and of what the channel serves now.
    """

    version: VersionRow
    revision: int
    packs: Sequence[PackStateRow]
    facts: TargetFacts
    frozen: str
    quarantined: Sequence[int]
    bases: tuple[str, str]


def show_readiness(registry: Registry, caller: Caller, line: LineRef, name: str) -> ReadinessInfo:
    """Return where a rollback of a channel would go now, and whether it would get there."""
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        channel = find_channel(conn, caller, line, name)
        near = ledger_rows(conn, channel.id, limit=NEAR)
        snapshot = look_back(conn, channel, near)
    return readiness_of(registry.store, name, snapshot, near)


def look_back(conn: sa.Connection, channel: ChannelRow, near: Sequence[LedgerRow]) -> RollbackSnapshot | None:
    """Look up where a rollback of a channel would go; None where it served nothing before.

    Args:
        conn: A transaction.
        channel: The channel.
        near: The newest `NEAR` entries of its ledger.
    """
    target = step_back(conn, channel, near=near)
    if target is None:
        return None
    version = version_queries.version_by_id(conn, present(target.version_id))
    combined = before_gate.before_rollback(conn, version, channel)
    case = gather(conn, version, channel, combined)
    newest = combined.one(before_gate.NEWEST)
    frozen = what_freezes(channel, newest, at_us=case.now.now_us)
    packs = combined.all(before_gate.PACKS)
    return RollbackSnapshot(
        version,
        target.number,
        packs,
        _facts(conn, channel, target, near, combined, case),
        "" if frozen is None else tell_frozen(frozen, channel.name),
        [row.number for row in combined.all(before_gate.QUARANTINED)],
        (case.candidate.base_fact.name, case.served_base),
    )


def readiness_of(
    store: BlobStore, name: str, found: RollbackSnapshot | None, near: Sequence[LedgerRow]
) -> ReadinessInfo:
    """Return whether a rollback would get there, after asking the store as well."""
    if found is None:
        return _nowhere(name, near)
    facts = replace(found.facts, objects_lost=_ask_store(store, found.packs))
    lights = judge_readiness(facts, frozen=found.frozen)
    return ReadinessInfo(
        channel=name,
        ref=facts.ref,
        version=found.version.number,
        revision=found.revision,
        ready=gravest(lights),
        lights=[_light(light) for light in lights],
        base=found.bases[0],
        served_base=found.bases[1],
    )


def _facts(
    conn: sa.Connection,
    channel: ChannelRow,
    target: LedgerRow,
    near: Sequence[LedgerRow],
    found: CombinedResult,
    case: GateCase,
) -> TargetFacts:
    now_us, packs = case.now.now_us, found.all(before_gate.PACKS)
    behind, age_s = distance(conn, channel, target, now_us=now_us, near=near)
    is_inside = is_in_window(behind=behind, age_s=age_s, window=case.policy.rollback)
    suite_names = {suite.name for suite in case.policy.suites}
    root = str(case.candidate.base)
    own = [v for v in case.verdicts if v.base == root]
    newest = next((v for v in own if v.suite in suite_names), None)
    base = found.one(before_gate.STORED)
    everything = case.unmet("approvals", "quarantined", "frozen", "new_base")
    unmet = () if is_inside else everything
    return TargetFacts(
        ref=case.candidate.ref,
        is_deleted=case.candidate.is_deleted,
        revoked=_tell_revoked(case.candidate),
        packs=len(packs),
        packs_lost=sum(pack.state != "live" for pack in packs),
        objects_lost=None,
        base=case.candidate.base_name,
        is_base_stored=base is not None and bool(base.stored_bytes),
        verdict="" if newest is None else f"{newest.suite}: {newest.outcome}",
        verdict_age_s=0.0 if newest is None else (now_us - newest.created_us) / US_PER_S,
        is_verdict_counting=len(case.passes()) == len(suite_names),
        behind=behind,
        age_s=age_s,
        is_in_window=is_inside,
        unmet=tuple(one.message for one in unmet),
        failed=tuple(one.message for one in everything if one.rule in {"failed", "refuted"}),
        served_base=case.served_base if case.changes_base else "",
    )


def _ask_store(store: BlobStore, packs: Sequence[PackStateRow]) -> int | None:
    """Count the packs that the store lacks; None where that takes too long or the store fails."""
    keys = [pack.physical_key for pack in packs]
    # A store that signs URLs is across a network, and this is asked at every look at a channel.
    if not 0 < len(keys) <= _MOST_ASKED or store.url(keys[0], expires_s=60) is not None:
        return None
    try:
        return sum(store.size(key) is None for key in keys)
    except StoreUnavailable:
        return None


def _tell_revoked(candidate: Candidate) -> str:
    """Say why no channel takes the version, but for its deletion, which has a light of its own."""
    try:
        check_standing(replace(candidate, is_deleted=False), fix="")
    except (Blocked, Corrupt) as refused:
        return refused.message
    return ""


def _nowhere(name: str, near: Sequence[LedgerRow]) -> ReadinessInfo:
    current = near[0].version if near else None
    candidates = sorted({row.version for row in near if row.version is not None and row.version != current})
    if current is None:
        message = "it serves nothing yet"
    elif candidates:
        which = ", ".join(f"v{number}" for number in candidates)
        by_number = f"a rollback goes there only by its number: --version v{candidates[-1]}"
        message = f"{which} was served too and rolled back; {by_number}"
    else:
        message = f"v{current} is the first that it serves"
    light = ReadinessLight(name="version", light="no", message=message)
    return ReadinessInfo(channel=name, ref=None, version=None, revision=None, ready="no", lights=[light])


def _light(light: ReadyLight) -> ReadinessLight:
    return ReadinessLight(name=light.name, light=light.light, message=light.message)
