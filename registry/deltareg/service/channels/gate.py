"""The gate: what a channel asks of a version, held against the verdicts that are bound to it.

Whoever asks, the core decides on facts that one function here gathers, once for a move; so an
answer, its explanation and the verdicts that a move names cannot differ.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from deltareg.db.clock import read_clock
from deltareg.db.queries import channels as channel_queries
from deltareg.db.queries import requests as request_queries
from deltareg.db.queries.base_identities import aliases_of
from deltareg.db.queries.outcomes import verdict_facts
from deltareg.db.queries.referrers import referrer_rows
from deltareg.db.rows import ChannelRow, VersionRow
from deltareg.db.session import read
from deltareg.digest import Digest
from deltareg.gate.judge import Candidate, Circumstances, deciding, judge
from deltareg.gate.policy import Policy, policy_digest
from deltareg.gate.ruling import Rule, Ruling
from deltareg.gate.signature_terms import SignatureFact
from deltareg.gate.verdict_facts import VerdictFact
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.base_parts import identities_of_variants, roots_of_variants
from deltareg.service.bases.stacks import revoked_below
from deltareg.service.channels.approvals import approvals_on
from deltareg.service.channels.summaries import sign_answer
from deltareg.service.describe import proof_of, ref_of, signatory_of
from deltareg.service.ledger.channel_policy import policy_of
from deltareg.service.ledger.freeze import standing_freeze, tell_freeze
from deltareg.service.lines.revocations import tell_revocation
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_version
from deltareg.service.verdicts.environments import worker_environments
from deltareg.service.verdicts.facts import fact_of, suite_facts
from deltareg.service.verdicts.waivers import standing_waivers
from deltareg.wire import GateAnswer, GateRule, UnmetRule

FRESH_POLICY: dict[str, object] = {"suites": ["smoke"]}


@dataclass(frozen=True, slots=True)
class Case:
    """A version before the gate of a channel: all that the gate goes by.

    Attributes:
        candidate: The version.
        policy: What the channel asks.
        verdicts: The verdicts of the version, newest first.
        now: What else there is to go by.
    """

    candidate: Candidate
    policy: Policy
    verdicts: Sequence[VerdictFact]
    now: Circumstances

    def rulings(self) -> list[Ruling]:
        """Hold the version against every rule; give them all, met and unmet."""
        return judge(self.candidate, self.policy, self.verdicts, now=self.now)

    def unmet(self, *left_out: Rule) -> list[Ruling]:
        """Give the rules that the version does not meet, but for some; an empty list means yes."""
        unmet = [ruling for ruling in self.rulings() if not ruling.is_met]
        return [ruling for ruling in unmet if ruling.rule not in left_out]

    def accepting(self, warnings: Iterable[str] | None = None) -> "Case":
        """Let somebody accept warnings of the verdicts that decide: those named, or all."""
        accepted = self.warnings() if warnings is None else warnings
        return replace(self, now=replace(self.now, accepted=frozenset(accepted)))

    def warnings(self) -> list[str]:
        """List the warnings that the channel wants to have accepted, as `suite/check`."""
        return [warning for ruling in self.rulings() for warning in ruling.warnings]

    def passes(self) -> list[str]:
        """List the verdicts that a move to the version rests on: a pass for each suite."""
        found = deciding(self.candidate, self.policy, self.verdicts, now=self.now)
        return [verdict.id for verdict in found if verdict.is_pass]


def check_gate(
    registry: Registry, caller: Caller, ref: Ref, channel: str, *, accept_warnings: bool = False
) -> GateAnswer:
    """Hold a version against every rule of a channel, and say what is missing; changes nothing.

    Args:
        registry: Where.
        caller: Who asks.
        ref: The version.
        channel: The channel.
        accept_warnings: Whether the warnings of its verdicts are to be let pass.
    """
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        version = find_version(conn, caller, ref, bare="newest")
        row = find_channel(conn, caller, ref.line, channel)
        case = gather(conn, version, row)
        case = case.accepting() if accept_warnings else case
        rulings, verdicts = case.rulings(), case.passes()
        unmet = [ruling for ruling in rulings if not ruling.is_met]
        signed = b"" if registry.signer is None else sign_answer(
            conn, registry.signer, ref=ref_of(version), digest=version.manifest_digest,
            channel=channel, policy_digest=case.now.policy_digest, verdicts=verdicts,
            unmet=[ruling.rule for ruling in unmet],
        )  # fmt: skip
    return GateAnswer(
        ref=ref_of(version), channel=channel, allowed=not unmet,
        unmet=[UnmetRule(rule=u.rule, message=u.message, fix=u.fix) for u in unmet],
        rules=[
            GateRule(rule=r.rule, is_met=r.is_met, message=r.message, fix=r.fix, suite=r.suite)
            for r in rulings
        ],
        policy_digest=case.now.policy_digest, verdicts=verdicts, vsa=signed.decode(),
    )  # fmt: skip


def gather(conn: sa.Connection, version: VersionRow, channel: ChannelRow) -> Case:
    """Gather all that the gate of a channel goes by about a version, inside a transaction."""
    policy = policy_of(channel)
    return Case(
        _candidate(conn, version, channel), policy, _facts(conn, version.id, channel.id),
        _circumstances(conn, version, channel, policy),
    )  # fmt: skip


def _circumstances(
    conn: sa.Connection, version: VersionRow, channel: ChannelRow, policy: Policy
) -> Circumstances:
    digest, now_us = str(policy_digest(policy)), read_clock(conn)
    newest = channel_queries.revision_at(conn, channel.id, number=channel.revision)
    freeze = standing_freeze(newest, at_us=now_us)
    served, digest_served = (None, None) if newest is None else (newest.version_id, newest.digest)
    return Circumstances(
        channel=channel.name, now_us=now_us, policy_digest=digest,
        suites=suite_facts(conn, (suite.name for suite in policy.suites)),
        environments=worker_environments(conn) if policy.environment == "strict" else frozenset(),
        frozen="" if freeze is None else tell_freeze(freeze, channel.name),
        approvals=_approvals(conn, version, channel, digest),
        incumbent=None if served == version.id else digest_served or "",
        variants=roots_of_variants(conn, version.base_id),
        identities=identities_of_variants(conn, version.base_id),
    )  # fmt: skip


def _approvals(
    conn: sa.Connection, version: VersionRow, channel: ChannelRow, digest: str
) -> list[str]:
    """Name those who approve of a move under the policy as it is."""
    asked = [
        request
        for request in request_queries.open_requests(conn, channel.id)
        if request.version_id == version.id and request.policy_digest == digest
    ]
    return sorted({row.principal for request in asked for row in approvals_on(conn, request)})


def _facts(conn: sa.Connection, version_id: int, channel_id: int) -> list[VerdictFact]:
    """Give the verdicts of a version as the gate of a channel sees them, newest first."""
    rows = verdict_facts(conn, version_id)
    waived = standing_waivers(conn, [row.id for row in rows], channel_id=channel_id)
    return [fact_of(row, waived.get(row.id, {})) for row in rows]


def _candidate(conn: sa.Connection, version: VersionRow, channel: ChannelRow) -> Candidate:
    quarantine = channel_queries.standing_quarantine(conn, channel.id, version.id)
    return Candidate(
        ref=ref_of(version), manifest=Digest.parse(version.manifest_digest),
        base=Digest.parse(version.base_root), base_name=version.base_name or "",
        kind=version.kind, is_quarantined=quarantine is not None,
        is_deleted=version.deleted_at is not None,
        revoked="" if version.revoked_at is None else tell_revocation(conn, version),
        revoked_below=revoked_below(conn, version), identity=version.base_identity or "",
        base_aliases=() if version.base_id is None else aliases_of(conn, version.base_id),
        signatures=_signatures(conn, version), proof=proof_of(version),
    )  # fmt: skip


def _signatures(conn: sa.Connection, version: VersionRow) -> list[SignatureFact]:
    if not version.signatures:
        return []
    rows = referrer_rows(conn, [version.id], form="signature")
    return [SignatureFact(signatory_of(row), revoked=row.revoked or "") for row in rows]
