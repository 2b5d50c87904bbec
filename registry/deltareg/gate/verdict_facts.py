"""The facts about suites and verdicts that the gate judges by, with nothing decided yet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deltareg.digest import Digest
from deltareg.gate.agreement import TOLERANCE, CheckFact
from deltareg.gate.signers import SignerTerms, VerdictSigner
from deltareg.words import Outcome

INFRASTRUCTURE = "infrastructure"
"""In the verdict of a run that came to nothing: the check that says why."""

# A waiver says that somebody answers for a finding. For these nobody can: what they find is that
# the bytes, the base or the computation are not what they claim to be, that the delta does nothing
# or is not used, or that there was no check.
NEVER_WAIVED = frozenset(
    {
        "digests",
        "accounting",
        "finite",
        "overflow",
        "overflow_after_cast",
        "attached_equals_folded",
        "golden",
        "idle",
        "effect",
        "exercised",
        "reloads",
        INFRASTRUCTURE,
    }
)


@dataclass(frozen=True, slots=True)
class SuiteFact:
    """The current state of a suite.

    Attributes:
        digest: Digest of the suite.
        seed: The seed that its verdicts must have.
        dtype: The dtype that they must have; empty if the base decides.
        needs_promoted: Whether it compares with the version that a channel serves.
        required: The required checks; for each, whether `n/a` is allowed.
        tolerance: How much two workers' measures may differ, as a share of the larger.
        is_for_gates: Whether its verdicts count for channels at all.
        is_held_to_best: Whether it compares with the best that a channel has served.
        drifting: The required checks that compare with versions, and with none that stays.
        decisive: The required checks that a version can fail: as comparisons they have to be decided.
    """

    digest: Digest
    seed: int
    dtype: str = ""
    needs_promoted: bool = False
    required: Mapping[str, bool] = field(default_factory=dict[str, bool])
    tolerance: float = TOLERANCE
    is_for_gates: bool = True
    is_held_to_best: bool = False
    drifting: tuple[str, ...] = ()
    decisive: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class VerdictConditions:
    """Further conditions for a verdict to count.

    Attributes:
        policy_digest: The channel's policy; None if no channel asks.
        environments: The accepted environments; None for any.
        incumbent: The manifest of the version that the channel serves, for suites that compare with
            it, empty if it serves none; None if it does not matter.
        accepted: The warnings that a move accepts, as `suite/check`; None if warnings are not
            considered.
        signers: The requirements for signers.
        bests: What the channel holds versions against as the best: manifests by suite and key.
    """

    policy_digest: str | None = None
    environments: frozenset[str] | None = None
    incumbent: str | None = None
    accepted: frozenset[str] | None = None
    signers: SignerTerms = field(default_factory=SignerTerms)
    bests: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


@dataclass(frozen=True, slots=True)
class VerdictSubject:
    """The version that verdicts must be about: its name, its manifest and its base's root.

    For a variant of its base it is the variant's root, and `variant` is the variant's name. The
    identity distinguishes the base from others with the same tensors; it is empty if unknown.
    """

    ref: str
    manifest: Digest
    base: Digest
    variant: str = ""
    identity: str = ""

    @property
    def description(self) -> str:
        """The version in words, with the base if that is not its own."""
        return f"{self.ref} on {self.variant}" if self.variant else self.ref


@dataclass(frozen=True, slots=True)
class VerdictFindings:
    """What a verdict found.

    Attributes:
        failed: The checks that failed.
        warned: The checks that warned.
        skipped: The checks that should have run and did not.
        checks: All checks, by name, to compare with those of another verdict.
        undecided: The comparisons that its samples left undecided, in words, by check.
        waits_for: For an inconclusive one: the corrupt object that it reads, and the command that
            repairs it.
        ended: Why its run came to nothing, in words; empty if it has a result.
    """

    failed: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    checks: Mapping[str, CheckFact] = field(default_factory=dict[str, CheckFact])
    undecided: Mapping[str, str] = field(default_factory=dict[str, str])
    waits_for: tuple[str, str] = ("", "")
    ended: str = ""


@dataclass(frozen=True, slots=True)
class VerdictFact:
    """A verdict as the gate sees it, with its digests as recorded.

    Attributes:
        id: Its name.
        manifest: The verified manifest.
        base: The root of the base of the verification.
        suite: The suite's name.
        suite_digest: The digest of the suite at the time.
        outcome: The outcome.
        created_us: When, in microseconds since the epoch, by the database's clock.
        verifier: The verifier, with its version.
        seed: The seed of everything random.
        dtype: The dtype that the base ran in.
        policy_digest: The policy that it was made for; empty if it was made for no channel.
        evidence: The evidence that the base is the right one.
        sandbox: The sandbox layers of the verifier's child, as it reported them.
        environment: Software and device.
        is_complete: Whether each check that the suite requires has shown something.
        waived: By failed check, until when it is waived on this channel, in words.
        compared_with: The manifest of the version that the suite compared with; may be empty.
        held_against: The manifests of its references, by key, where the gate asks for them.
        continues: The verdict that it continues after a waiver; usually empty.
        continuation: The run that performs its skipped checks, while that is in progress.
        identity: The identity of its base; empty if unknown.
        signer: The signer.
        disputed: Another worker's differing finding, in words; empty if there is none.
        look: Gives what it found. A version may have hundreds of verdicts, of which few are looked into.
    """

    id: str
    manifest: str
    base: str
    suite: str
    suite_digest: str
    outcome: Outcome
    created_us: int
    verifier: str
    seed: int
    dtype: str = ""
    policy_digest: str = ""
    evidence: str = ""
    sandbox: str = ""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    is_complete: bool = True
    waived: Mapping[str, str] = field(default_factory=dict[str, str])
    compared_with: str = ""
    continues: str = ""
    continuation: str = ""
    identity: str = ""
    signer: VerdictSigner = field(default_factory=VerdictSigner)
    disputed: str = ""
    held_against: Mapping[str, str] = field(default_factory=dict[str, str])
    look: Callable[[], VerdictFindings] = field(default=VerdictFindings, compare=False)

    @property
    def standing_failures(self) -> tuple[str, ...]:
        """The failed checks that are not waived, or must not be."""
        waived = self.waived.keys() - NEVER_WAIVED
        return tuple(name for name in self.look().failed if name not in waived)

    @property
    def failed_before_end(self) -> tuple[str, ...]:
        """The checks that had failed when its run was cut short; none if it was not."""
        if self.outcome != "inconclusive" or self.verifier:
            return ()
        return tuple(name for name in self.look().failed if name != INFRASTRUCTURE)

    @property
    def is_waived(self) -> bool:
        """Whether it failed and every failed check is waived."""
        return self.outcome == "fail" and bool(self.look().failed) and not self.standing_failures

    @property
    def is_pass(self) -> bool:
        """Whether it passed, or all failures are waived and everything else has been shown."""
        return self.outcome == "pass" or (self.is_waived and self.is_complete)
