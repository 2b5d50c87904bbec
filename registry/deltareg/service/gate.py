"""The gate: what a channel asks of a version, held against the verdicts that are bound to it."""

import sqlalchemy as sa

from deltareg.db.queries import channels as channel_queries
from deltareg.db.queries.outcomes import verdict_facts
from deltareg.db.rows import Row
from deltareg.db.session import read
from deltareg.digest import Digest
from deltareg.lifecycle import Candidate, Policy, Unmet, VerdictFact, VerdictKey, gate
from deltareg.refs import Ref
from deltareg.service.describe import ref_of
from deltareg.service.freeze import standing_freeze, tell_freeze
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_line, find_version
from deltareg.service.revocations import tell_revocation
from deltareg.service.stacks import revoked_below
from deltareg.service.suites import find_suite
from deltareg.wire import GateAnswer, UnmetRule

FRESH_POLICY: dict[str, object] = {"suites": ["smoke"]}


def check_gate(registry: Registry, caller: Caller, ref: Ref, channel: str) -> GateAnswer:
    """Say whether a version may go to a channel, and if not what is missing; changes nothing."""
    caller.require("read")
    with read(registry.engine) as conn:
        version = find_version(conn, ref, bare="newest")
        row = find_channel(conn, find_line(conn, ref.line), ref.line, channel)
        unmet = judge(conn, version, row)
    return GateAnswer(
        ref=ref_of(version), channel=channel, allowed=not unmet,
        unmet=[UnmetRule(rule=u.rule, message=u.message, fix=u.fix) for u in unmet],
    )  # fmt: skip


def judge(conn: sa.Connection, version: Row, channel: Row) -> list[Unmet]:
    """Hold a version against a channel's policy inside a transaction."""
    policy = read_policy(channel)
    freeze = standing_freeze(conn, channel)
    quarantine = channel_queries.standing_quarantine(conn, channel.id, version.id)
    candidate = Candidate(
        ref=ref_of(version), manifest=Digest.parse(version.manifest_digest),
        base=Digest.parse(version.base_root), is_quarantined=quarantine is not None,
        is_deleted=version.deleted_at is not None,
        revoked="" if version.revoked_at is None else tell_revocation(conn, version),
        revoked_below=revoked_below(conn, version),
    )  # fmt: skip
    return gate(
        candidate, policy, facts(conn, version.id), channel=channel.name,
        suite_digests={suite: find_suite(conn, suite).digest for suite in policy.suites},
        frozen="" if freeze is None else tell_freeze(freeze, channel.name),
    )  # fmt: skip


def facts(conn: sa.Connection, version_id: int) -> list[VerdictFact]:
    """Give the verdicts of a version as the gate sees them, newest first."""
    return [_fact(row) for row in verdict_facts(conn, version_id)]


def read_policy(channel: Row) -> Policy:
    """Read a channel's policy."""
    return Policy(suites=tuple(channel.policy["suites"]))


def _fact(row: Row) -> VerdictFact:
    key = VerdictKey(
        Digest.parse(row.manifest_digest), Digest.parse(row.base_root), row.suite,
        Digest.parse(row.suite_digest),
    )  # fmt: skip
    failed = tuple(check["name"] for check in row.checks if check["verdict"] == "fail")
    return VerdictFact(row.id, key, row.verdict, failed)
