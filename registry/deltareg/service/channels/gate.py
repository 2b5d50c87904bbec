"""The gate: compares what a channel asks of a version with the version's verdicts.

Whoever asks, one function here gathers the facts, once per move, and the core decides on them. So
an answer, its explanation and the verdicts that a move names cannot differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from deltareg.db.access.trusts import claims_of
from deltareg.db.channels import before_gate
from deltareg.db.channels.rows import ChannelRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.db.sql.together import CombinedResult
from deltareg.db.verdicts.held_against import held_verdicts
from deltareg.gate.floors import Floor, over
from deltareg.gate.judge import Candidate, Circumstances, deciding
from deltareg.gate.new_base import NEW_BASE, BaseFact, is_same_base, name_base
from deltareg.gate.outside_terms import OUTSIDE_RULES
from deltareg.gate.policy import Policy, policy_digest
from deltareg.gate.policy_judgement import judge_with_floors
from deltareg.gate.ruling import Rule, Ruling
from deltareg.gate.verdict_facts import SuiteFact, VerdictFact
from deltareg.refs import Ref
from deltareg.service.aliases import former_refs
from deltareg.service.authority.grants import Right
from deltareg.service.channels.approvals import counting
from deltareg.service.channels.known_version import KnownVersion, read_known
from deltareg.service.channels.serving import serving_facts
from deltareg.service.channels.summaries import sign_answer
from deltareg.service.describe import base_claim_of, ref_of
from deltareg.service.ledger.channel_policy import floors_of, own_policy_of, policy_of
from deltareg.service.ledger.freeze import standing_freeze, tell_freeze
from deltareg.service.ledger.references import best_of_channel
from deltareg.service.ledger.references_document import digests_of
from deltareg.service.lines.outside import outside_facts
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel, find_version
from deltareg.service.verdicts.environments import worker_environments
from deltareg.service.verdicts.facts import suite_facts
from deltareg.service.verdicts.suites import find_suite
from deltareg.service.workflow import describe_workflow
from deltareg.wire import GateAnswer, GateRule, UnmetRule

FRESH_POLICY: dict[str, object] = {"suites": ["smoke"]}


@dataclass(frozen=True, slots=True)
class GateCase:
    """A version before the gate of a channel, with all the facts that decide.

    Attributes:
        candidate: The version.
        own: The channel's own policy.
        floors: The floors below that policy.
        verdicts: The verdicts of the version, newest first.
        now: All other circumstances of the decision.
    """

    candidate: Candidate
    own: Policy
    floors: Sequence[Floor]
    verdicts: Sequence[VerdictFact]
    now: Circumstances

    @property
    def policy(self) -> Policy:
        """The whole policy: the channel's own with its floors."""
        return over(self.own, self.floors)

    def rulings(self) -> list[Ruling]:
        """Judge the version by every rule; return all rulings, met and unmet."""
        return judge_with_floors(self.candidate, self.own, self.floors, self.verdicts, now=self.now)

    def unmet(self, *left_out: Rule) -> list[Ruling]:
        """Return the rules that the version does not meet, except some; an empty list means yes."""
        unmet = [ruling for ruling in self.rulings() if not ruling.is_met]
        return [ruling for ruling in unmet if ruling.rule not in left_out]

    def accepting(self, warnings: Iterable[str] | None = None) -> "GateCase":
        """Return the case with warnings of the deciding verdicts accepted: those named, or all."""
        accepted = self.warnings() if warnings is None else warnings
        return replace(self, now=replace(self.now, accepted=self.now.accepted.union(accepted)))

    def accepting_for(self, *, warnings: bool, new_base: bool, undecided: bool = False) -> "GateCase":
        """Return the case with warnings, undecided comparisons or a change of the channel's base accepted."""
        case = self.accepting([NEW_BASE]) if new_base else self
        case = case.deciding_all() if undecided else case
        return case.accepting() if warnings else case

    def deciding_all(self) -> "GateCase":
        """Return the case as if somebody answered for every undecided comparison."""
        verdicts = [
            replace(one, waived={**dict.fromkeys(one.look().undecided, "with this move"), **one.waived})
            for one in self.verdicts
        ]
        return replace(self, verdicts=verdicts)

    def open_comparisons(self) -> list[tuple[str, str]]:
        """List the comparisons that the gate asks to be decided, each with its verdict."""
        return [one.undecided for one in self.rulings() if one.undecided is not None and not one.is_met]

    @property
    def accepted(self) -> list[str]:
        """What a promotion accepts of the case: its warnings, and `new_base` where it changes the base."""
        is_noted = self.changes_base and NEW_BASE in self.now.accepted
        return [*self.warnings(), *([NEW_BASE] if is_noted else [])]

    @property
    def changes_base(self) -> bool:
        """Whether the channel's hosts would need another base for the version."""
        served = self.now.served_base
        return served is not None and not is_same_base(self.candidate.base_fact, served)

    @property
    def served_base(self) -> str:
        """The name of the base of what the channel serves; empty where it serves nothing."""
        return "" if self.now.served_base is None else self.now.served_base.name

    def warnings(self) -> list[str]:
        """List the warnings that somebody has to accept for the channel, as `suite/check`."""
        return [warning for ruling in self.rulings() for warning in ruling.warnings]

    def evidence(self) -> list[Ruling]:
        """List the met rules that rest on what others say about the version."""
        return [ruling for ruling in self.rulings() if ruling.is_met and ruling.rule in OUTSIDE_RULES]

    def passes(self) -> list[str]:
        """List the ids of the verdicts that a move to the version rests on: a pass for each suite."""
        decisive = deciding(self.candidate, self.policy, self.verdicts, now=self.now)
        return [verdict.id for verdict in decisive if verdict.is_pass]


def check_gate(
    registry: Registry,
    caller: Caller,
    ref: Ref,
    channel: str,
    *,
    accept_warnings: bool = False,
    new_base: bool = False,
    accept_undecided: bool = False,
) -> GateAnswer:
    """Judge a version by every rule of a channel and return what is missing; changes nothing.

    Args:
        registry: The database and the store.
        caller: Who asks.
        ref: The version.
        channel: The channel.
        accept_warnings: Whether to accept the warnings of its verdicts.
        new_base: Whether the channel may change its base.
        accept_undecided: Whether somebody answers for what its samples do not decide.
    """
    caller.require(Right.READ, on=ref.line)
    with read(registry.engine) as conn:
        version = find_version(conn, caller, ref, bare="newest")
        row = find_channel(conn, caller, ref.line, channel)
        case = gather(conn, version, row)
        case = case.accepting_for(warnings=accept_warnings, new_base=new_base, undecided=accept_undecided)
        answer = answer_of(conn, registry, version, channel, case)
        former = [name for name in former_refs(conn, version) if caller.sees(Ref.parse(name).line)]
        workflow = describe_workflow(claims_of(conn, [caller.token_id]).get(caller.token_id or 0))
        asker = f"{caller.principal} via {workflow}" if workflow else caller.principal
        return answer.model_copy(update={"former": former, "asker": asker})


def answer_of(conn: sa.Connection, registry: Registry, version: VersionRow, channel: str, case: GateCase) -> GateAnswer:
    """Describe the gate's decision about a version, signed where the registry has a key."""
    rulings, verdicts = case.rulings(), case.passes()
    unmet = [ruling for ruling in rulings if not ruling.is_met]
    evidence = [digest for ruling in rulings for digest in ruling.evidence]
    signed = (
        b""
        if registry.own_key is None
        else sign_answer(
            conn,
            registry.own_key,
            ref=ref_of(version),
            digest=version.manifest_digest,
            channel=channel,
            policy_digest=case.now.policy_digest,
            verdicts=verdicts,
            evidence=evidence,
            unmet=[ruling.rule for ruling in unmet],
        )
    )
    return GateAnswer(
        ref=ref_of(version),
        channel=channel,
        allowed=not unmet,
        unmet=[UnmetRule(rule=u.rule, message=u.message, fix=u.fix, asked_by=list(u.asked_by)) for u in unmet],
        rules=[
            GateRule(
                rule=r.rule, is_met=r.is_met, message=r.message, fix=r.fix, suite=r.suite, asked_by=list(r.asked_by)
            )
            for r in rulings
        ],
        policy_digest=case.now.policy_digest,
        verdicts=verdicts,
        evidence=evidence,
        vsa=signed.decode(),
        base=case.candidate.base_fact.name,
        base_claim=base_claim_of(version),
        served_base=case.served_base,
    )


def gather(
    conn: sa.Connection, version: VersionRow, channel: ChannelRow, found: CombinedResult | None = None
) -> GateCase:
    """Gather all facts on which the gate of a channel judges a version, inside a transaction.

    Args:
        conn: The transaction.
        version: The version.
        channel: The channel.
        found: The rows that `before_gate` read for the two in this transaction, where the caller
            read them already.
    """
    if found is None:
        found = before_gate.before_channel(conn, version, channel)
    policy, facts = policy_of(channel), read_known(conn, version, found)
    candidate = replace(
        facts.candidate,
        is_quarantined=found.one(before_gate.QUARANTINE) is not None,
        serving=serving_facts(conn, version) if policy.servable else {},
        outside=outside_facts(conn, version, policy.outside),
    )
    now = _circumstances(conn, version, channel, policy, facts, found)
    return GateCase(
        candidate,
        own_policy_of(channel),
        floors_of(channel, namespace=version.namespace),
        _with_references(conn, facts.verdicts_on(channel.id), now.bests),
        now,
    )


def _with_references(
    conn: sa.Connection, verdicts: Sequence[VerdictFact], bests: Mapping[str, Mapping[str, str]]
) -> Sequence[VerdictFact]:
    """Say of the verdicts of suites that hold versions to the best what each was held against."""
    held = {
        verdict_id: digests_of(row.request)
        for suite in bests
        for verdict_id, row in held_verdicts(
            conn, (one.id for one in verdicts if one.suite == suite), suite=suite
        ).items()
    }
    return [replace(one, held_against=held.get(one.id, {})) for one in verdicts] if bests else verdicts


def _read_bests(
    conn: sa.Connection, version: VersionRow, channel: ChannelRow, suites: Mapping[str, SuiteFact]
) -> dict[str, Mapping[str, str]]:
    """Return what the channel holds the version against as the best, by suite and key."""
    bests: dict[str, Mapping[str, str]] = {}
    for name, fact in suites.items():
        if fact.is_held_to_best:
            found = best_of_channel(conn, version, find_suite(conn, name), channel_id=channel.id)
            bests[name] = {key: one.digest for key, one in found.items()}
    return bests


def _circumstances(
    conn: sa.Connection,
    version: VersionRow,
    channel: ChannelRow,
    policy: Policy,
    known: KnownVersion,
    found: CombinedResult,
) -> Circumstances:
    digest, now_us = str(policy_digest(policy)), found.all(before_gate.MOMENT)[0].now
    newest = found.one(before_gate.NEWEST)
    freeze = standing_freeze(newest, at_us=now_us)
    served_id, digest_served = (None, None) if newest is None else (newest.version_id, newest.digest)
    suites = suite_facts(conn, (suite.name for suite in policy.suites))
    return Circumstances(
        channel=channel.name,
        now_us=now_us,
        policy_digest=digest,
        suites=suites,
        environments=worker_environments(conn) if policy.environment == "strict" else frozenset(),
        frozen="" if freeze is None else tell_freeze(freeze, channel.name),
        approvals=_approvals(conn, version, found, digest),
        incumbent=None if served_id == version.id else digest_served or "",
        variants=known.variants,
        identities=known.identities,
        served_base=_find_served_base(found, version),
        bests={} if served_id == version.id else _read_bests(conn, version, channel, suites),
    )


def _find_served_base(found: CombinedResult, version: VersionRow) -> BaseFact | None:
    row = found.one(before_gate.SERVED_BASE)
    if row is None:
        return None
    name = name_base(row.base_name or "", row.base_root, reader=ref_of(version))
    return BaseFact(row.base_root, row.base_identity or "", name)


def _approvals(conn: sa.Connection, version: VersionRow, found: CombinedResult, digest: str) -> list[str]:
    """Return the names of those who approve a move under the policy as it is."""
    requests = [
        request
        for request in found.all(before_gate.REQUESTS)
        if request.version_id == version.id and request.policy_digest == digest
    ]
    approvals = found.all(before_gate.APPROVALS)
    return sorted({row.principal for request in requests for row in counting(conn, request, approvals)})
