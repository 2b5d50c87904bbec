"""The life of a version on a channel, and the gate, as pure functions over facts.

A version is pushed, verified (pass, fail or inconclusive), promoted to a channel, perhaps rolled
back from it and then quarantined there. Nothing here reads a clock or a database: the caller brings
the facts, and gets back what is missing and which command repairs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deltareg.digest import Digest
from deltareg.errors import Blocked, DeltaregError, GateFailed, GatePending, Inconclusive

Outcome = Literal["pass", "fail", "inconclusive"]
RevisionKind = Literal["promote", "rollback", "freeze", "unfreeze"]
ROLLBACK_WINDOW_REVISIONS = 5
ROLLBACK_WINDOW_DAYS = 30


@dataclass(frozen=True, slots=True)
class VerdictKey:
    """What a verdict was given for; when any of it differs, the verdict does not count."""

    manifest: Digest
    base: Digest
    suite: str
    suite_digest: Digest


@dataclass(frozen=True, slots=True)
class VerdictFact:
    """A verdict as the gate sees it."""

    id: str
    key: VerdictKey
    outcome: Outcome
    failed_checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What a channel asks of a version.

    Attributes:
        suites: Names of the suites that must have passed.
    """

    suites: tuple[str, ...] = ("smoke",)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that somebody wants on a channel.

    Attributes:
        ref: As shown, `ns/name:v3`.
        manifest: Its identity.
        base: Its base's root.
        is_quarantined: Rolled back from this channel and not cleared.
        is_deleted: Deleted.
        revoked: By whom, when and why it was withdrawn; empty when it was not.
        revoked_below: The same of a version that it stands on, with its name.
    """

    ref: str
    manifest: Digest
    base: Digest
    is_quarantined: bool = False
    is_deleted: bool = False
    revoked: str = ""
    revoked_below: str = ""


@dataclass(frozen=True, slots=True)
class Unmet:
    """One rule that is not met, and the command that would change it."""

    rule: Literal[
        "revoked", "quarantined", "deleted", "frozen", "failed", "inconclusive", "missing"
    ]
    message: str
    fix: str


def gate(
    candidate: Candidate,
    policy: Policy,
    verdicts: Sequence[VerdictFact],
    *,
    channel: str,
    suite_digests: dict[str, Digest],
    frozen: str = "",
) -> list[Unmet]:
    """Judge whether a version may go to a channel; an empty list means yes.

    Args:
        candidate: The version.
        policy: The channel's policy.
        verdicts: Newest first; those for other bytes, base or suite digest are ignored.
        channel: The channel's name, for the commands in the answer.
        suite_digests: The digest of each suite as it is now.
        frozen: Says that the channel accepts no move, who decided so and why; empty when it does.
    """
    unmet = _blocked(candidate, channel=channel, frozen=frozen)
    for suite in policy.suites:
        key = VerdictKey(candidate.manifest, candidate.base, suite, suite_digests[suite])
        newest = next((v for v in verdicts if v.key == key), None)
        unmet += _judge(candidate, suite, newest)
    return unmet


def refusal(unmet: Sequence[Unmet]) -> DeltaregError | None:
    """Give the one error that stands for a list of unmet rules, the gravest first."""
    classes: list[tuple[set[str], type[DeltaregError]]] = [
        ({"revoked", "quarantined", "deleted", "frozen"}, Blocked),
        ({"failed"}, GateFailed),
        ({"inconclusive"}, Inconclusive),
        ({"missing"}, GatePending),
    ]
    for rules, error in classes:
        hit = next((u for u in unmet if u.rule in rules), None)
        if hit is not None:
            return error(hit.message, fix=hit.fix)
    return None


def is_in_window(*, behind: int, age_s: float) -> bool:
    """Whether a rollback may reuse an old verdict: 5 revisions or 30 days, whichever is more.

    Args:
        behind: How many revisions before the current one the target was served.
        age_s: Seconds since it stopped being the channel's version.
    """
    return behind <= ROLLBACK_WINDOW_REVISIONS or age_s <= ROLLBACK_WINDOW_DAYS * 86_400


def _blocked(candidate: Candidate, *, channel: str, frozen: str) -> list[Unmet]:
    ref = candidate.ref
    line = ref.partition(":")[0]
    found: list[Unmet] = []
    if candidate.is_deleted:
        found.append(Unmet("deleted", f"{ref} is deleted", "push it again"))
    if candidate.revoked:
        fix = f"choose another version, or: deltareg unrevoke {ref} -m REASON"
        found.append(Unmet("revoked", f"{ref} was {candidate.revoked}", fix))
    if candidate.revoked_below:
        told = f"{ref} stands on {candidate.revoked_below}"
        found.append(Unmet("revoked", told, "push it again on another base"))
    if candidate.is_quarantined:
        found.append(
            Unmet(
                "quarantined",
                f"{ref} was rolled back from {channel} and is quarantined there",
                f"deltareg channel clear {line} {channel} {ref.partition(':')[2]} -m REASON",
            )
        )
    if frozen:
        fix = f"wait, or: deltareg channel unfreeze {line} {channel} -m REASON"
        found.append(Unmet("frozen", frozen, fix))
    return found


def _judge(candidate: Candidate, suite: str, newest: VerdictFact | None) -> list[Unmet]:
    ref = candidate.ref
    verify = f"deltareg verify {ref} --suite {suite} --wait"
    if newest is None:
        return [Unmet("missing", f"{ref} has no verdict of suite {suite}", verify)]
    if newest.outcome == "pass":
        return []
    if newest.outcome == "inconclusive":
        return [Unmet("inconclusive", f"suite {suite} could not judge {ref}", verify)]
    checks = ", ".join(newest.failed_checks) or "see the verdict"
    show = f"deltareg verdict show {newest.id}"
    return [Unmet("failed", f"{ref} failed suite {suite}: {checks}", show)]
