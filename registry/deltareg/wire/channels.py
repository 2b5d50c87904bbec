"""Channels, their ledgers and the gate on the wire."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import Answer, Reason, Request, Text
from deltareg.wire.runs import Waiver
from deltareg.words import RevisionKind


class GlassBroken(Answer):
    """A move that broke the glass and waits for a review, which is due by `due`."""

    revision: int
    kind: RevisionKind
    version: int | None
    actor: str
    reason: str
    at: str
    due: str


class Unfitness(Answer):
    """Why the version that a channel serves would not be let onto it now.

    `rule` is `failed`, `revoked` (or made of what is), `corrupt` or `deleted`.
    """

    rule: str
    message: str
    suite: str = ""


class ChannelInfo(Answer):
    """A channel as of its newest revision, or of the moment asked for.

    `kind`, `actor`, `reason` and `at` are those of the revision, which may be a freeze.
    `is_revoked` says of the version that it serves that it was revoked, now. A channel is frozen by
    hand or by a window of its policy; `frozen_because` says which and why. `waivers` are those that
    stand for it on verdicts of the version that it serves. `unfit` says why that version would be
    refused now, for what it is; it is served on. `to_review` lists the moves that broke the glass
    and were not reviewed yet. `policy` is the channel's own, `floors` what is asked beside it;
    `suites` and `policy_digest` are of all of it. `base` is the base of the version that it serves.
    """

    channel: str
    revision: int
    version: int | None
    digest: str | None
    ref: str | None
    is_revoked: bool = False
    kind: RevisionKind | None = None
    is_frozen: bool = False
    frozen_until: str | None = None
    actor: str | None = None
    reason: str = ""
    at: str | None = None
    suites: list[str] = []
    quarantined: list[int] = []
    frozen_because: str = ""
    policy: dict[str, object] = {}
    policy_digest: str = ""
    waivers: list[Waiver] = []
    to_review: list[GlassBroken] = []
    unfit: list[Unfitness] = []
    floors: list["ChannelFloor"] = []
    base: str = ""

    def _in_short(self) -> str:
        frozen = ", frozen" if self.is_frozen else ""
        return f"{self.channel} serves {self.ref or 'nothing'}, revision {self.revision}{frozen}"


class RevisionInfo(Answer):
    """One entry of a channel's ledger; `review` is what was found by who reviewed it.

    `ref` and `base` name the version that it serves and that version's base. `via` is the workflow
    that moved the channel, where it got its token by a trust.
    """

    channel: str
    revision: int
    kind: RevisionKind
    version: int | None
    digest: str | None
    previous: int | None
    actor: str
    reason: str
    verdicts: list[str]
    at: str
    until: str | None = None
    break_glass: bool = False
    reviewed_by: str | None = None
    review: str | None = None
    request: int | None = None
    base: str = ""
    ref: str = ""
    via: str = ""


class ChannelMove(Request):
    """A request to append a revision.

    `promote` takes `version`; `rollback` takes at most one of `version`, `revision` and `steps`
    (default: one step back). `freeze` and `unfreeze` need a `reason`; a freeze may end by itself at
    `until`, an RFC 3339 time. With `break_glass`, which takes a scope of its own and a reason, a
    promotion or a rollback asks neither the gate nor for approvals, and somebody else reviews it.
    A protected channel takes a version whose verdicts warn only with `accept_warnings`. A promotion
    changes the channel's base only with `new_base`, unless the policy allows it. With
    `accept_undecided` and a reason it waives the comparisons that the samples do not decide.
    """

    kind: RevisionKind
    version: int | None = None
    revision: int | None = None
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    reason: Text = ""
    until: Text | None = None
    break_glass: bool = False
    dry_run: bool = False
    accept_warnings: bool = False
    new_base: bool = False
    accept_undecided: bool = False


class QuarantineClear(Request):
    """Why a quarantine ends."""

    reason: Reason


class MoveResult(Answer):
    """The revision that a move made.

    `accepted` lists the warnings that were accepted with it, as `suite/check`. After a rollback
    `verify_runs` verify the version again by every suite that the channel asks for; `verify_run` is
    the first of them. `ref` names the version that it serves now, `base` is that version's base and
    `previous_base` that of the version before; `base_claim` is as for the gate. `quarantined`
    lists, after a rollback, the versions that may not be promoted there until they are cleared.
    """

    channel: str
    revision: int
    kind: RevisionKind
    version: int | None
    digest: str | None
    previous: int | None
    verify_run: str | None = None
    verify_runs: list[str] = []
    accepted: list[str] = []
    base: str = ""
    previous_base: str = ""
    base_claim: str = ""
    quarantined: list[int] = []
    ref: str = ""

    def _in_short(self) -> str:
        before = "" if self.previous in {None, self.version} else f", was v{self.previous}"
        return f"{self.kind}: {self.channel} serves {self.ref or f'v{self.version}'}{before}, revision {self.revision}"


class UnmetRule(Answer):
    """One rule of the gate that is not met; `asked_by` names the floors that alone ask for it."""

    rule: str
    message: str
    fix: str
    asked_by: list[str] = []


class GateRule(Answer):
    """One rule of the gate with what was found; `fix` is empty when it is met.

    `asked_by` names the floors that ask for it where the channel's own policy does not.
    """

    rule: str
    is_met: bool
    message: str
    fix: str = ""
    suite: str = ""
    asked_by: list[str] = []


class GateAnswer(Answer):
    """Whether a version may go to a channel, what is missing, and every rule with its facts.

    `verdicts` are those that the answer rests on, `evidence` the digests of what others say that it
    rests on. `vsa` is the answer as the server signs it: a
    DSSE envelope of a SLSA verification summary. `base` is the version's base, `served_base` that
    of what the channel serves, empty where it serves nothing. `base_claim` is the base that the
    version's own files name, where who pushed it insisted on another. `former` are references that
    the version had under former names of its line: what was signed at that time says one of them.
    `asker` is who asked: a principal, and the workflow where it got its token by a trust.
    """

    ref: str
    channel: str
    allowed: bool
    unmet: list[UnmetRule]
    rules: list[GateRule] = []
    policy_digest: str = ""
    verdicts: list[str] = []
    evidence: list[str] = []
    vsa: str = ""
    base: str = ""
    base_claim: str = ""
    served_base: str = ""
    former: list[str] = []
    asker: str = ""

    def _in_short(self) -> str:
        unmet = ", ".join(rule.rule for rule in self.unmet)
        return f"{self.ref} to {self.channel}: " + ("allowed" if self.allowed else f"not allowed: {unmet}")


class ChannelFloor(Answer):
    """What is asked of a channel beside its own policy, and by whom: `of`."""

    of: str
    policy: dict[str, object]


class PolicyInfo(Answer):
    """A channel's own policy, in its one written form, and what is asked beside it.

    The digest is of all of it.
    """

    channel: str
    policy: dict[str, object]
    digest: str
    floors: list[ChannelFloor] = []


class FloorInfo(Answer):
    """What a namespace asks of its channels, or without one the server of all."""

    of: str
    namespace: str | None
    policy: dict[str, object]
    digest: str
    reason: str = ""
    actor: str | None = None
    at: str | None = None


class FloorSet(Request):
    """What is asked from now on, whole; an empty policy asks nothing."""

    policy: dict[str, object]
    reason: Reason
    dry_run: bool = False


class FloorChange(Answer):
    """What a floor was and is now, or would be, and the requests that are stale by that."""

    of: str
    namespace: str | None
    before: dict[str, object]
    after: dict[str, object]
    digest: str
    is_changed: bool
    stale_requests: list[int] = []


class PolicySet(Request):
    """A new policy for a channel, whole; what it leaves out is the default."""

    policy: dict[str, object]
    reason: Text = ""
    dry_run: bool = False


class PolicyChange(Answer):
    """What a policy was and is now, or would be."""

    channel: str
    before: dict[str, object]
    after: dict[str, object]
    digest: str
    is_changed: bool
