"""What the gate goes by about suites and verdicts: facts, with nothing decided about them yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deltareg.digest import Digest
from deltareg.gate.agreement import TOLERANCE, CheckFact
from deltareg.gate.signers import SignerTerms, VerdictSigner
from deltareg.words import Outcome

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
        "infrastructure",
    }
)


@dataclass(frozen=True, slots=True)
class SuiteFact:
    """A suite as it is now.

    Attributes:
        digest: Of all that it says.
        seed: The seed that its verdicts were made with.
        dtype: The dtype that they must have been made in; empty when the base decides.
        needs_promoted: Whether it compares with the version that a channel serves.
        required: The checks that it requires, and of each whether it may not apply.
        tolerance: How far apart two workers' measures may be, as a share of the larger.
        is_for_gates: Whether its verdicts count for channels at all.
    """

    digest: Digest
    seed: int
    dtype: str = ""
    needs_promoted: bool = False
    required: Mapping[str, bool] = field(default_factory=dict[str, bool])
    tolerance: float = TOLERANCE
    is_for_gates: bool = True


@dataclass(frozen=True, slots=True)
class VerdictConditions:
    """What else a verdict must have been made under to count.

    Attributes:
        policy_digest: The channel's policy; None when no channel asks.
        environments: Those that it may have been made in; None for any.
        incumbent: The manifest of what the channel serves, for suites that compare with it, empty
            for nothing; None when it does not matter.
        accepted: The warnings that a move accepts, as `suite/check`; None where none are asked
            about.
        signers: Whose verdicts are taken.
    """

    policy_digest: str | None = None
    environments: frozenset[str] | None = None
    incumbent: str | None = None
    accepted: frozenset[str] | None = None
    signers: SignerTerms = field(default_factory=SignerTerms)


@dataclass(frozen=True, slots=True)
class VerdictSubject:
    """The version that verdicts are wanted about: its name, its manifest and its base's root.

    On a variant of its base it is the variant's root, and `variant` is the variant's name. The
    identity tells the base from others with the same tensors; it is empty where that is not known.
    """

    ref: str
    manifest: Digest
    base: Digest
    variant: str = ""
    identity: str = ""

    @property
    def description(self) -> str:
        """The version in words: on what, where that is not its own base."""
        return f"{self.ref} on {self.variant}" if self.variant else self.ref


@dataclass(frozen=True, slots=True)
class VerdictFact:
    """A verdict as the gate sees it; its digests are as recorded, whatever that is.

    Attributes:
        id: Its name.
        manifest: The manifest that was verified.
        base: The root of the base that it was verified on.
        suite: The suite's name.
        suite_digest: What the suite was.
        outcome: What was found.
        created_us: When, in microseconds since the epoch, by the database's clock.
        verifier: Who found it, with its version.
        seed: Of everything random.
        dtype: What the base ran in.
        policy_digest: The policy that it was asked for; empty when it was asked for no channel.
        evidence: How sure it was that the base is the right one.
        sandbox: The layers that the verifier's child ran in, as it tells them.
        environment: Software and device.
        failed_checks: The checks that failed.
        warned_checks: The checks that warned.
        skipped_checks: The checks that should have run and did not.
        is_complete: Whether each check that the suite requires has shown something.
        waived: Until when a failed check is waived on this channel, in words, by check.
        compared_with: The manifest of the version that the suite compared with; may be empty.
        continues: The verdict that it makes up for, after a waiver; mostly empty.
        continuation: The run that makes up for what it left out, while that is under way.
        identity: The whole of the base that it was made on; empty where nobody said.
        signer: Who signed it.
        checks: The checks, by name, to compare with those of another.
        disputed: What another worker found otherwise, in words; empty when none did.
        undecided: The comparisons with other versions that its samples did not decide, in words,
            by check.
        waits_for: Of one that came to nothing: what is corrupt that it reads, and what heals that.
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
    failed_checks: tuple[str, ...] = ()
    warned_checks: tuple[str, ...] = ()
    skipped_checks: tuple[str, ...] = ()
    is_complete: bool = True
    waived: Mapping[str, str] = field(default_factory=dict[str, str])
    compared_with: str = ""
    continues: str = ""
    continuation: str = ""
    identity: str = ""
    signer: VerdictSigner = field(default_factory=VerdictSigner)
    checks: Mapping[str, CheckFact] = field(default_factory=dict[str, CheckFact])
    disputed: str = ""
    undecided: Mapping[str, str] = field(default_factory=dict[str, str])
    waits_for: tuple[str, str] = ("", "")

    @property
    def standing_failures(self) -> tuple[str, ...]:
        """The failed checks that nobody waived, or nobody may."""
        waived = self.waived.keys() - NEVER_WAIVED
        return tuple(name for name in self.failed_checks if name not in waived)

    @property
    def is_waived(self) -> bool:
        """Whether it failed, and somebody answers for every check that did."""
        return self.outcome == "fail" and bool(self.failed_checks) and not self.standing_failures

    @property
    def is_pass(self) -> bool:
        """Whether it passed, or all that failed is waived and all else has been shown."""
        return self.outcome == "pass" or (self.is_waived and self.is_complete)
