"""The life of a version on a channel, and the gate, as pure functions over facts.

A version is pushed, verified (pass, fail or inconclusive), promoted to a channel, perhaps rolled
back from it and then quarantined there. Nothing here reads a clock or a database: the caller
provides the facts and gets a ruling on every rule, with the command that repairs an unmet one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from deltareg.digest import Digest
from deltareg.errors import DeltaregError, Problem
from deltareg.gate.contradiction import find_contradicted
from deltareg.gate.freeze_window import standing_window
from deltareg.gate.new_base import NEW_BASE, BaseFact, name_base, rule_on_new_base
from deltareg.gate.outside_facts import OutsideFacts
from deltareg.gate.outside_terms import rule_on_outside
from deltareg.gate.policy import Policy, RollbackWindow
from deltareg.gate.ruling import RULE_ERRORS, Rule, Ruling
from deltareg.gate.serving_terms import ServingFact, rule_on_serving
from deltareg.gate.signature_terms import SignatureFact, rule_on_signature
from deltareg.gate.signers import SignerTerms
from deltareg.gate.verdict_facts import SuiteFact, VerdictConditions, VerdictFact, VerdictSubject
from deltareg.gate.verdict_rules import independent_passes, rule_on_suite, why_not

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version proposed for a channel.

    Attributes:
        ref: As shown, `ns/name:v3`.
        manifest: Its identity.
        base: Its base's root.
        base_name: Its base's name; empty if the base is not registered.
        kind: Its kind.
        is_quarantined: Rolled back from this channel and not cleared.
        is_deleted: Deleted.
        revoked: Who revoked it, when and why; empty if nobody did.
        revoked_below: The revoked version that it contains, and how: `stands on ns/x:v1, which was
            …`.
        identity: The identity of its base; empty if unknown.
        base_aliases: Former names of its base.
        signatures: Who signed its files.
        serving: Whether engines can serve it, by engine; only if the policy asks.
        outside: What others say about it; only if the policy asks.
        corrupt_below: The corrupt version or base that it stands on: `stands on base x, which is
            …`.
        corrupt_fix: The command that repairs that.
        proof: The state of its stored bytes: `proven`, `claimed` or `corrupt`.
    """

    ref: str
    manifest: Digest
    base: Digest
    base_name: str = ""
    kind: str = ""
    is_quarantined: bool = False
    is_deleted: bool = False
    revoked: str = ""
    revoked_below: str = ""
    corrupt_below: str = ""
    corrupt_fix: str = ""
    proof: str = "proven"
    identity: str = ""
    base_aliases: Sequence[str] = ()
    signatures: Sequence[SignatureFact] = ()
    serving: Mapping[str, ServingFact] = field(default_factory=dict[str, ServingFact])
    outside: OutsideFacts = field(default_factory=OutsideFacts)

    @property
    def base_fact(self) -> BaseFact:
        """Its base, as a serving host knows it."""
        return BaseFact(str(self.base), self.identity, _told_base(self))

    @property
    def subject(self) -> VerdictSubject:
        """The subject for which verdicts are required."""
        return VerdictSubject(self.ref, self.manifest, self.base, identity=self.identity)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The current facts besides the version that the gate depends on.

    Attributes:
        channel: The channel's name, for the commands in the answer.
        now_us: The database's time, in microseconds since the epoch.
        policy_digest: Digest of the channel's current policy.
        suites: The current suites by name; any other name is no suite.
        environments: The environments of today's workers.
        frozen: Who froze the channel, until when and why; empty if it is not frozen.
        approvals: Who approved the move, without the uploader.
        variants: The roots of all variants of the version's base, by name.
        identities: The identities of these, as far as known.
        incumbent: The manifest of the version that the channel serves, empty if it serves none;
            None if it serves this version, which needs no comparison.
        accepted: The warnings accepted with the move, as `suite/check`; `new_base` for a change of
            the channel's base.
        served_base: The base of the version that the channel serves; None if it serves none.
        bests: What the channel holds a version against as the best: manifests by suite and key.
    """

    channel: str
    now_us: int
    policy_digest: str = ""
    suites: Mapping[str, SuiteFact] = field(default_factory=dict[str, SuiteFact])
    environments: frozenset[str] = frozenset()
    frozen: str = ""
    approvals: Sequence[str] = ()
    incumbent: str | None = None
    variants: Mapping[str, str] = field(default_factory=dict[str, str])
    accepted: frozenset[str] = frozenset()
    identities: Mapping[str, str] = field(default_factory=dict[str, str])
    served_base: BaseFact | None = None
    bests: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


def judge(candidate: Candidate, policy: Policy, verdicts: Sequence[VerdictFact], *, now: Circumstances) -> list[Ruling]:
    """Check a version against every rule of a channel; return all rulings, met and unmet.

    Args:
        candidate: The version.
        policy: The channel's policy.
        verdicts: Newest first.
        now: Further facts.
    """
    rulings = [*_on_standing(candidate, now), _on_freeze(candidate, policy, now)]
    if policy.kinds is not None:
        rulings.append(_on_kind(candidate, policy.kinds, now))
    if policy.bases is not None:
        rulings.append(rule_on_base(candidate, policy.bases, now))
    rulings += rule_on_new_base(
        candidate.ref,
        candidate.base_fact,
        now.served_base,
        channel=now.channel,
        is_allowed=policy.is_new_base_taken or NEW_BASE in now.accepted,
    )
    rulings += [rule_on_serving(candidate.ref, term, candidate.serving) for term in policy.servable]
    subject = candidate.subject
    own = [verdict for verdict in verdicts if verdict.base not in now.variants.values()]
    for suite in policy.suites:
        rulings += rule_on_suite(
            subject, suite, policy, own, suite=now.suites.get(suite.name), bound=_bounds(policy, now), now_us=now.now_us
        )
    if policy.asks_fixed_reference(now.channel):
        rulings += _on_drift(policy, now)
    for name in policy.variants:
        rulings += _on_variant(candidate, name, policy, verdicts, now)
    rulings += [rule_on_signature(candidate.ref, term, candidate.signatures) for term in policy.signatures]
    rulings += rule_on_outside(candidate.ref, policy.outside, candidate.outside)
    rulings.append(_on_proof(candidate))
    if candidate.corrupt_below:
        message = f"{candidate.ref} {candidate.corrupt_below}"
        rulings.append(Ruling("corrupt", message, fix=candidate.corrupt_fix))
    if policy.approvals:
        rulings.append(_on_approvals(candidate, policy.approvals, now))
    return rulings


def deciding(
    candidate: Candidate, policy: Policy, verdicts: Sequence[VerdictFact], *, now: Circumstances
) -> list[VerdictFact]:
    """Return the newest verdict that counts for each suite of a policy, if there is one.

    If independent workers must agree, the agreeing verdicts are included. If it contradicts a
    failure, and that is not settled, the failure replaces it.
    """
    subject = candidate.subject
    decisive: list[VerdictFact] = []
    for required in policy.suites:
        suite = now.suites.get(required.name)
        if suite is not None:
            of = [verdict for verdict in verdicts if verdict.suite == required.name]
            bound = _bounds(policy, now)
            counting = [v for v in of if why_not(v, subject, suite, bound=bound) is None]
            failed = find_contradicted(counting)
            if failed is not None:
                decisive.append(failed)
                continue
            decisive += independent_passes(counting, suite)[: max(1, policy.independent)]
    return decisive


def refusal(unmet: Sequence[Ruling]) -> DeltaregError | None:
    """Return the one error for a list of unmet rules, by the most serious rule.

    It names the most serious rule and holds all of them.
    """
    ranks = {rule: rank for rank, rule in enumerate(RULE_ERRORS)}
    ordered = sorted(unmet, key=lambda ruling: ranks[ruling.rule])
    if not ordered:
        return None
    first = ordered[0]
    problems = [Problem(one.rule, one.message, fix=one.fix) for one in ordered]
    return RULE_ERRORS[first.rule](first.message, fix=first.fix, problems=problems)


def is_in_window(*, behind: int, age_s: float, window: RollbackWindow) -> bool:
    """Whether a rollback may rely on an old verdict: the wider of the two bounds holds.

    Args:
        behind: How many revisions before the current one the target was served.
        age_s: Seconds since it stopped being the channel's version.
        window: The channel's window.
    """
    return behind <= window.revisions or age_s <= window.days * 86_400


def rule_on_base(candidate: Candidate, bases: Sequence[str], now: Circumstances) -> Ruling:
    """Check a version's base against those that the channel accepts."""
    base_names = ", ".join(bases)
    name = _told_base(candidate)
    known_as = {candidate.base_name, str(candidate.base), *candidate.base_aliases}
    if ({*known_as, candidate.identity} - {""}) & set(bases):
        return Ruling("base", f"base {name} is among {base_names}")
    return Ruling(
        "base",
        f"{candidate.ref} is for base {name}, {now.channel} takes {base_names}",
        fix=f"promote another version, or: {_set_policy(candidate, now)}",
    )


def _bounds(policy: Policy, now: Circumstances) -> VerdictConditions:
    is_strict = policy.environment == "strict"
    signers = SignerTerms(policy.workers, policy.worker_labels, is_local_taken=policy.is_local_taken)
    return VerdictConditions(
        now.policy_digest,
        now.environments if is_strict else None,
        now.incumbent,
        now.accepted if policy.is_protected else None,
        signers,
        now.bests,
    )


def _on_standing(candidate: Candidate, now: Circumstances) -> list[Ruling]:
    ref = candidate.ref
    line, _, version = ref.partition(":")
    rules: dict[Rule, tuple[str, str]] = {}
    if candidate.is_deleted:
        rules["deleted"] = (f"{ref} is deleted", f"deltareg restore {ref}; or push it again")
    if candidate.is_quarantined:
        rules["quarantined"] = (
            f"{ref} was rolled back from {now.channel} and is quarantined there",
            f"deltareg channel clear {line} {now.channel} {version} -m REASON",
        )
    if candidate.revoked_below:
        fix = "push one that is made without it: on another base, or of other versions"
        rules["revoked"] = (f"{ref} {candidate.revoked_below}", fix)
    if candidate.revoked:
        fix = f"choose another version, or: deltareg unrevoke {ref} -m REASON"
        rules["revoked"] = (f"{ref} was {candidate.revoked}", fix)
    fine: dict[Rule, str] = {
        "deleted": f"{ref} is there",
        "revoked": f"{ref} is not revoked",
        "quarantined": f"{ref} is not quarantined on {now.channel}",
    }
    return [
        Ruling(rule, rules[rule][0], fix=rules[rule][1]) if rule in rules else Ruling(rule, message)
        for rule, message in fine.items()
    ]


def _on_proof(candidate: Candidate) -> Ruling:
    """Require that somebody besides the sender has decoded the stored bytes, whatever the policy."""
    ref = candidate.ref
    match candidate.proof:
        case "proven":
            return Ruling("proven", f"the bytes of {ref} are proven")
        case "corrupt":
            message = f"{ref} is corrupt: what is stored is not what it says"
            fix = f"push the same folder again: deltareg push PATH {ref.partition(':')[0]}"
            return Ruling("corrupt", message, fix=fix)
        case _:
            message = f"no worker has checked yet that the bytes of {ref} are what its sender says"
            return Ruling("proven", message, fix=f"deltareg prove {ref} --wait")


def _on_freeze(candidate: Candidate, policy: Policy, now: Circumstances) -> Ruling:
    line = candidate.ref.partition(":")[0]
    if now.frozen:
        fix = f"wait, or: deltareg channel unfreeze {line} {now.channel} -m REASON"
        return Ruling("frozen", now.frozen, fix=fix)
    window = standing_window(policy.freeze, _EPOCH + timedelta(microseconds=now.now_us))
    if window is not None:
        fix = f"wait, or change the policy: deltareg channel policy set {line} {now.channel} FILE"
        return Ruling("frozen", f"{now.channel} is in {window}", fix=fix)
    return Ruling("frozen", f"{now.channel} is not frozen")


def _on_kind(candidate: Candidate, kinds: Sequence[str], now: Circumstances) -> Ruling:
    kind_names = ", ".join(kinds) or "none: no kind is left that all take"
    if candidate.kind in kinds:
        return Ruling("kind", f"kind {candidate.kind} is among {kind_names}")
    return Ruling(
        "kind",
        f"{candidate.ref} is of kind {candidate.kind}, {now.channel} takes {kind_names}",
        fix=f"promote another version, or: {_set_policy(candidate, now)}",
    )


def _on_drift(policy: Policy, now: Circumstances) -> list[Ruling]:
    """Require of suites that compare versions a reference that does not move with the channel."""
    rulings: list[Ruling] = []
    for required in policy.suites:
        suite = now.suites.get(required.name)
        if suite is None or not suite.needs_promoted:
            continue
        if not suite.drifting:
            message = f"suite {required.name} holds versions to a reference that does not move"
            rulings.append(Ruling("drift", message, suite=required.name))
            continue
        checks = ", ".join(suite.drifting)
        message = (
            f"suite {required.name}: {checks} compares with the version before and with none that stays,"
            " so small losses add up unseen"
        )
        fix = (
            f"write `reference: best` into {checks}, then: deltareg suite push FILE;"
            " or `fixed_reference: false` into the policy"
        )
        rulings.append(Ruling("drift", message, fix=fix, suite=required.name))
    return rulings


def _on_variant(
    candidate: Candidate, name: str, policy: Policy, verdicts: Sequence[VerdictFact], now: Circumstances
) -> list[Ruling]:
    """Require for a variant what is required for the base; comparisons are left out."""
    root = now.variants.get(name)
    if root is None:
        message = f"the base {_told_base(candidate)} has no variant {name}"
        fix = f"promote a version of another base, or: {_set_policy(candidate, now)}"
        return [Ruling("base", message, fix=fix)]
    subject = VerdictSubject(candidate.ref, candidate.manifest, Digest.parse(root), variant=name)
    subject = replace(subject, identity=now.identities.get(name, ""))
    of_root = [verdict for verdict in verdicts if verdict.base == root]
    rulings: list[Ruling] = []
    for suite in policy.suites:
        rulings += rule_on_suite(
            subject,
            suite,
            policy,
            of_root,
            suite=now.suites.get(suite.name),
            bound=replace(_bounds(policy, now), incumbent=None, bests={}),
            now_us=now.now_us,
        )
    return [replace(one, message=_told_on(one, subject)) for one in rulings]


def _told_on(ruling: Ruling, subject: VerdictSubject) -> str:
    is_told = subject.description in ruling.message
    return ruling.message if is_told else f"on {subject.variant}: {ruling.message}"


def _on_approvals(candidate: Candidate, due: int, now: Circumstances) -> Ruling:
    people = ", ".join(now.approvals)
    by = f": {people}" if people else ""
    message = f"{candidate.ref} has {len(now.approvals)} of {due} approvals for {now.channel}{by}"
    if len(now.approvals) >= due:
        return Ruling("approvals", message)
    fix = (
        f"deltareg promote {candidate.ref} --channel {now.channel} opens a request;"
        " then somebody else: deltareg request approve ID"
    )
    return Ruling("approvals", message, fix=fix)


def _set_policy(candidate: Candidate, now: Circumstances) -> str:
    line = candidate.ref.partition(":")[0]
    return f"deltareg channel policy set {line} {now.channel} FILE"


def _told_base(candidate: Candidate) -> str:
    return name_base(candidate.base_name, str(candidate.base), reader=candidate.ref)
