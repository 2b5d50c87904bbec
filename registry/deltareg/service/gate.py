"""The gate: what a channel asks of a version, held against the verdicts that are bound to it.

`check_gate`, `judge` and what explains a policy all go through one function of the core, on facts
that one function here gathers; so an answer and its explanation cannot differ.
"""

import sqlalchemy as sa

from deltareg.db.clock import read_clock
from deltareg.db.queries import channels as channel_queries
from deltareg.db.queries import requests as request_queries
from deltareg.db.queries.outcomes import verdict_facts
from deltareg.db.rows import Row
from deltareg.db.session import read
from deltareg.digest import Digest
from deltareg.lifecycle import Candidate, Circumstances, deciding
from deltareg.lifecycle import judge as judge_facts
from deltareg.policy import Policy, policy_digest
from deltareg.refs import Ref
from deltareg.ruling import Ruling
from deltareg.service.channel_policy import digest_of_policy, policy_of
from deltareg.service.describe import ref_of
from deltareg.service.environments import worker_environments
from deltareg.service.freeze import standing_freeze, tell_freeze
from deltareg.service.incumbent import incumbent
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_line, find_version
from deltareg.service.revocations import tell_revocation
from deltareg.service.stacks import revoked_below
from deltareg.service.verdict_facts import fact_of, suite_facts
from deltareg.service.waivers import standing_waivers
from deltareg.verdict_rules import VerdictFact
from deltareg.wire import GateAnswer, GateRule, UnmetRule

FRESH_POLICY: dict[str, object] = {"suites": ["smoke"]}


def check_gate(registry: Registry, caller: Caller, ref: Ref, channel: str) -> GateAnswer:
    """Hold a version against every rule of a channel, and say what is missing; changes nothing."""
    caller.require("read")
    with read(registry.engine) as conn:
        version = find_version(conn, ref, bare="newest")
        row = find_channel(conn, find_line(conn, ref.line), ref.line, channel)
        rulings = rule(conn, version, row)
    unmet = [ruling for ruling in rulings if not ruling.is_met]
    return GateAnswer(
        ref=ref_of(version), channel=channel, allowed=not unmet,
        unmet=[UnmetRule(rule=u.rule, message=u.message, fix=u.fix) for u in unmet],
        rules=[
            GateRule(rule=r.rule, is_met=r.is_met, message=r.message, fix=r.fix, suite=r.suite)
            for r in rulings
        ],
        policy_digest=digest_of_policy(row),
    )  # fmt: skip


def judge(conn: sa.Connection, version: Row, channel: Row) -> list[Ruling]:
    """Give the rules of a channel that a version does not meet; an empty list means yes."""
    return [ruling for ruling in rule(conn, version, channel) if not ruling.is_met]


def rule(conn: sa.Connection, version: Row, channel: Row) -> list[Ruling]:
    """Hold a version against every rule of a channel's policy inside a transaction."""
    policy = policy_of(channel)
    now = _circumstances(conn, version, channel, policy)
    return judge_facts(_candidate(conn, version, channel), policy, facts(conn, version.id), now=now)


def deciding_verdicts(conn: sa.Connection, version: Row, channel: Row) -> list[VerdictFact]:
    """Give the verdict that decides about a version for each suite of a channel that has one."""
    policy = policy_of(channel)
    now = _circumstances(conn, version, channel, policy)
    return deciding(_candidate(conn, version, channel), policy, facts(conn, version.id), now=now)


def _circumstances(
    conn: sa.Connection, version: Row, channel: Row, policy: Policy
) -> Circumstances:
    digest = str(policy_digest(policy))
    freeze = standing_freeze(conn, channel)
    served = incumbent(conn, channel.delta_id, channel.name)
    is_served = served is not None and served.id == version.id
    return Circumstances(
        channel=channel.name, now_us=read_clock(conn), policy_digest=digest,
        suites=suite_facts(conn, (suite.name for suite in policy.suites)),
        environments=worker_environments(conn) if policy.environment == "strict" else frozenset(),
        frozen="" if freeze is None else tell_freeze(freeze, channel.name),
        approvals=_approvals(conn, version, channel, digest),
        incumbent=None if is_served else "" if served is None else served.manifest_digest,
    )  # fmt: skip


def _approvals(conn: sa.Connection, version: Row, channel: Row, digest: str) -> list[str]:
    """Name those who approve of a move under the policy as it is."""
    asked = [
        request.id
        for request in request_queries.open_requests(conn, channel.id)
        if request.version_id == version.id and request.policy_digest == digest
    ]
    given = request_queries.approvals_of(conn, asked)
    return sorted({row.principal for rows in given.values() for row in rows})


def facts(conn: sa.Connection, version_id: int) -> list[VerdictFact]:
    """Give the verdicts of a version as the gate sees them, newest first."""
    rows = verdict_facts(conn, version_id)
    waived = standing_waivers(conn, [row.id for row in rows])
    return [fact_of(row, waived.get(row.id, {})) for row in rows]


def _candidate(conn: sa.Connection, version: Row, channel: Row) -> Candidate:
    quarantine = channel_queries.standing_quarantine(conn, channel.id, version.id)
    return Candidate(
        ref=ref_of(version), manifest=Digest.parse(version.manifest_digest),
        base=Digest.parse(version.base_root), base_name=version.base_name or "",
        kind=version.kind, is_quarantined=quarantine is not None,
        is_deleted=version.deleted_at is not None,
        revoked="" if version.revoked_at is None else tell_revocation(conn, version),
        revoked_below=revoked_below(conn, version),
    )  # fmt: skip
