"""Rows of verdicts and their waivers, and of suites."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deltareg.words import Outcome


@dataclass(frozen=True, slots=True)
class VerdictIdRow:
    """Which verdict it is."""

    id: str


@dataclass(frozen=True, slots=True)
class VerdictFactRow:
    """A verdict as the gate needs it: all that binds it, its checks, and whether all have run.

    `continues` is the verdict that it continues, and `continuation` the run that continues it.
    """

    id: str
    manifest_digest: str
    base_root: str
    suite: str
    suite_digest: str
    verdict: Outcome
    checks: Sequence[Mapping[str, object]]
    created_at: int
    verifier: str
    policy_digest: str
    dtype: str
    seed: int
    base_evidence: str
    sandbox: str
    environment: dict[str, str]
    compared_with: str
    keyid: str
    host: str
    worker_labels: Mapping[str, str] | None
    signer: str
    key_revoked_at: int
    key_reason: str
    disputed: str
    is_complete: bool
    continues: str
    continuation: str
    base_identity: str


@dataclass(frozen=True, slots=True)
class VerdictRow(VerdictFactRow):
    """A verdict as shown, with what its version and its suite are now."""

    run_id: str
    version_id: int
    created_by: int | None
    namespace: str
    line: str
    number: int
    version_digest: str
    version_base: str
    maker: str | None
    suite_now: str | None
    variant: str
    version_identity: str


@dataclass(frozen=True, slots=True)
class MakingRow:
    """How and where a verdict was made."""

    version_id: int
    suite: str
    suite_digest: str
    verifier: str
    environment: dict[str, str]
    key_id: int | None
    revoked_keyid: str | None


@dataclass(frozen=True, slots=True)
class VersionOutcomeRow:
    """How many suites a version fails and passes, by the newest verdict of each."""

    version_id: int
    fails: int
    passes: int


@dataclass(frozen=True, slots=True)
class NewestByOutcomeRow:
    """Row ids of a line's versions: the newest that passed, and of a principal's the newest that has not failed."""

    delta_id: int
    passed: int | None
    own: int | None


@dataclass(frozen=True, slots=True)
class FindingRow:
    """The checks of a verdict about a version."""

    version_id: int
    suite: str
    checks: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """The outcome of a verdict about a version, and whether one of its checks warned."""

    version_id: int
    verdict: Outcome
    warns: bool


@dataclass(frozen=True, slots=True)
class WaiverRow:
    """A waiver, and whether it stands now."""

    id: str
    verdict_id: str
    check_name: str
    reason: str
    expires_at: int
    created_at: int
    actor_id: int
    revoked_at: int | None
    revoked_by: int | None
    stands: bool
    actor: str
    ender: str | None
    channel_id: int | None
    origin_id: str | None
    channel: str | None


@dataclass(frozen=True, slots=True)
class VersionWaiverRow(WaiverRow):
    """A waiver with the version that its verdict is about."""

    version_id: int


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """A pushed version of a suite."""

    id: int
    name: str
    number: int
    digest: str
    document: bytes
    created_at: int
    created_by: int | None
    maker: str | None
