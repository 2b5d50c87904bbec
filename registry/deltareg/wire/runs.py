"""Runs, leases and verdicts on the wire."""

from typing import Annotated, Literal

from pydantic import Field

from deltareg.wire.bases import BaseInfo
from deltareg.wire.checks import CheckResult
from deltareg.wire.messages import Answer, Reason, Request, Text
from deltareg.words import BaseEvidence, Outcome, Priority, PromptForm, ProofState, RunState, SideName

Labels = Annotated[
    dict[Annotated[str, Field(max_length=60)], Annotated[str, Field(max_length=120)]], Field(max_length=16)
]


class WrongPart(Answer):
    """A piece, by its digest, or a file, by its path, that is not what the manifest says."""

    name: Annotated[str, Field(max_length=1_024)]
    detail: Text = ""


class ProofFound(Answer):
    """The result of a proving run; `proof` is None if it came to no result."""

    proof: ProofState | None = None
    wrong: list[WrongPart] = []


class ProofReport(Request):
    """What came of decoding all that is stored of a version or a base; nothing wrong is proven.

    `storage_revision` is that of the run's grant, `pieces` is how many were decoded. Where
    something is wrong, `read` is the digest of the encoded chunks that were decoded, in the order
    of need: nobody is accused for bytes that are not what is stored. The worker signs all of it
    (`deltareg.wire.work`).
    """

    fence: int
    storage_revision: int
    pieces: Annotated[int, Field(ge=0)]
    wrong: Annotated[list[WrongPart], Field(max_length=200)] = []
    read: Annotated[str, Field(max_length=80)] = ""
    sandbox: Text = ""
    envelope: Annotated[str, Field(max_length=4 << 20)] = ""


class VerdictReport(Request):
    """What a worker found; the server binds it to the run's version, base and suite.

    With the `storage_revision` of the grant, a worker says that it decoded what was stored then.
    """

    fence: int
    verdict: Outcome
    verifier: Text
    suite_digest: str
    dtype: str
    seed: int
    base_evidence: BaseEvidence
    checks: Annotated[list[CheckResult], Field(max_length=200)]
    environment: dict[str, str]
    sandbox: Text = ""
    base_identity: Text = ""
    storage_revision: int = 0


class SignedReport(Request):
    """What a worker found, as it signed it: a DSSE envelope of an in-toto statement, in JSON.

    All that is in it is in the statement's predicate (`deltareg.wire.statements`).
    """

    fence: int
    envelope: Annotated[str, Field(max_length=4 << 20)]


class Waiver(Answer):
    """That somebody answers for a failed check of a verdict, on a channel, until a time.

    `channel` is empty for one that was given before waivers named a channel: it counts on all.
    `carried_from` names the waiver that a continuation took over to its verdict.
    """

    id: str
    check: str
    reason: str
    created_at: str
    created_by: str
    expires_at: str
    stands: bool
    revoked_at: str | None = None
    revoked_by: str | None = None
    channel: str = ""
    carried_from: str = ""


class WaiverCreate(Request):
    """Waive a failed check for a channel, until `expires_at` (RFC 3339) or `expires_in_s` from now.

    A client that names no channel is of a release whose waivers counted everywhere, and is refused.
    """

    check: Annotated[str, Field(min_length=1, max_length=60)]
    channel: Annotated[str, Field(max_length=64)] = ""
    reason: Reason
    expires_in_s: Annotated[int, Field(gt=0, le=366 * 86_400)] = 30 * 86_400
    expires_at: Annotated[str, Field(max_length=60)] | None = None


class VerdictInfo(Answer):
    """A verdict and what it is bound to.

    `counts` says whether it does for the version as it is now, apart from what a channel asks;
    `not_counting` says why when it does not. `policy_digest` is empty when it was asked for no
    channel. `variant` names the variant of the base that it was made on, if it was one: it counts
    where a policy asks for that variant, and nowhere else. `signed_by` is the worker that is
    enrolled with the key `keyid`; empty where it is not signed, or by nobody that is enrolled
    (`is_local`). `disputed` says what another worker found otherwise: it is inconclusive then.
    `is_complete` says that each check which the suite requires has shown something; where it has
    not, a waiver of what failed opens no gate, and `continuation` names the run that makes up for
    it, while that is under way. `continues` names the verdict that this one makes up for.
    `base_identity` is over all of the base that it was made on, `base_root` over its tensors.
    """

    id: str
    run: str
    ref: str
    digest: str
    base_root: str
    suite: str
    suite_digest: str
    verifier: str
    verdict: Outcome
    counts: bool
    dtype: str
    seed: int
    base_evidence: str
    checks: list[CheckResult]
    environment: dict[str, str]
    sandbox: str
    compared_with: str = ""
    created_at: str
    created_by: str
    policy_digest: str = ""
    not_counting: str = ""
    variant: str = ""
    waivers: list[Waiver] = []
    signed_by: str = ""
    keyid: str = ""
    host: str = ""
    is_local: bool = False
    disputed: str = ""
    is_complete: bool = True
    continues: str = ""
    continuation: str = ""
    base_identity: str = ""

    def _in_short(self) -> str:
        named = [check for check in self.checks if check.verdict in {"fail", "warn"}]
        odd = ", ".join(f"{check.name} {check.verdict}" for check in named)
        counts = "" if self.counts else "; it does not count"
        return f"{self.ref}: {self.suite} {self.verdict}, {odd or f'{len(self.checks)} checks'}{counts}"


class RunCreate(Request):
    """Queue a run, or join one that is already under way for the same thing.

    `channel` is whose version a suite compares with, where it does: `prod` when it is not said.
    With it, the verdict is bound to that channel's policy and does not count there under another.
    `variant` names a variant of the base to verify on, in place of the base. `independent` asks for
    another worker, on another host, than those that passed it already. `local` is for a worker of
    the asker's own, whose verdict is for the asker's eyes.

    To prove what is stored of a version or of a `base`, only `what`, one of the two, and `again`
    are said.
    """

    what: Literal["verify", "prove"] = "verify"
    ref: Annotated[str, Field(max_length=300)] = ""
    base: Text = ""
    suite: str = "smoke"
    channel: Annotated[str, Field(max_length=64)] | None = None
    again: bool = False
    labels: Labels = {}
    priority: Priority = "normal"
    variant: Text = ""
    independent: bool = False
    local: bool = False


class StoredChange(Answer):
    """What a re-encode run came to: the bytes that a version took, and takes now."""

    before: int
    after: int


class RunInfo(Answer):
    """A run of the queue.

    Of a re-encode run, `against` is `base` or `smallest`, and `stored_bytes` what came of it. Where
    it waits, `position` is 1 for the next one, if that was looked up, and `unserved` says that no
    worker which runs now could take it. `variant` names the variant of the base it verifies on.
    A run that proves is about a version or a `base`; `proof` and `wrong` are what came of it. One
    that proves a `form` says so of that, and the version is served in it if it is proven. Of a
    re-encode run whose form waits for that, `proof_run` is the run that proves it. One that a push
    queued and nobody asked for is cancelled when a newer version comes first: `superseded_by` it.
    One that compares names the `other` version where that is of the same line.
    """

    id: str
    what: str
    ref: str
    suite: str
    state: RunState
    attempt: int
    worker: str | None
    error: str | None
    verdict: VerdictInfo | None = None
    against: str = ""
    stored_bytes: StoredChange | None = None
    variant: str = ""
    base: str = ""
    proof: ProofState | None = None
    wrong: list[WrongPart] = []
    form: int | None = None
    proof_run: str = ""
    superseded_by: str = ""
    other: str = ""
    priority: Priority = "normal"
    labels: dict[str, str] = {}
    position: int | None = None
    unserved: str = ""
    created_at: str
    started_at: str | None
    finished_at: str | None

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.state in {"done", "dead", "cancelled"}

    def _in_short(self) -> str:
        what = f"{self.what} {self.ref or self.base}" + (f" by {self.suite}" if self.suite else "")
        outcome = self.proof if self.verdict is None else self.verdict.verdict
        return ", ".join(
            [f"{self.id}: {what}", self.state, *([outcome] if outcome else []), *filter(None, [self.error])]
        )


class LeaseRequest(Request):
    """A worker asks for work, of the kinds that it does; with `run`, for that one only.

    `key` is the public key that it signs with, and `host` the machine that it says it is on. `knows`
    are the words that it knows (`wire.knowledge`): it is given no run that needs others. A worker of
    a release that does not say so may be given any, until it has shown that it does not know it.
    """

    worker: Annotated[str, Field(max_length=120)]
    labels: dict[str, str] = {}
    run: str = ""
    wait_s: Annotated[float, Field(ge=0, le=60)] = 0
    what: list[Annotated[str, Field(max_length=40)]] = ["verify"]
    key: Annotated[str, Field(max_length=200)] = ""
    host: Annotated[str, Field(max_length=64)] = ""
    knows: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=5_000)] | None = None


class ReferenceGrant(Answer):
    """A version that a suite compares with; without a `ref`, `why` says why there is none."""

    ref: str = ""
    digest: str = ""
    why: str = ""


class Question(Answer):
    """What a worker is asked, in which form, and on which side of the base there is a version.

    A worker of the release before heeds no `form` and goes on from the plain text.
    """

    prompt: str
    tokens: int
    seed: int | None = None
    sides: list[SideName]
    form: PromptForm = "plain"


class LeaseGrant(Answer):
    """A run given to a worker until the lease ends.

    A re-encode run has no suite; `against` says what the version is to be encoded against.
    `promoted` is the version that the suite compares with, when it does and there is one. `base` is
    what to verify on: the version's base, or a variant of it, which has `variant_of`. The report
    has to be signed and to say the `nonce`. `waived`
    names the checks after whose failure the others run all the same. `references` are the other
    versions that the suite compares with, by how it names them. A run that proves a base has
    no `ref`. `storage_revision` says which form is stored now. With `is_anew`, nothing of what is
    to be proven comes out of a cache. A run that compares or answers has its other version among
    the `references`, as `a`; one that answers has a `question`. `request_id` is the request that
    asked for it, `traceparent` the trace of that, where there is one.
    """

    run: str
    what: str
    fence: int
    lease_s: float
    attempt: int
    ref: str
    digest: str
    base: BaseInfo
    suite: str
    suite_digest: str
    against: str = ""
    promoted: str = ""
    promoted_digest: str = ""
    nonce: str = ""
    waived: list[str] = []
    storage_revision: int = 0
    is_anew: bool = False
    references: dict[str, ReferenceGrant] = {}
    question: Question | None = None
    request_id: str = ""
    traceparent: str = ""


class LeaseHold(Request):
    """What shows that a worker holds a run; sent as a heartbeat, too."""

    run: str
    fence: int


class ReencodeReport(Request):
    """The new form of a version, whose packs an upload of the run brought; the worker signs it."""

    fence: int
    upload: str
    storage_map: str
    envelope: Annotated[str, Field(max_length=4 << 20)] = ""


class RunFailure(Request):
    """A worker could not do the run; it may be tried again.

    With `is_unreadable`, because what the registry gave was damaged, or some of it not there. With
    `is_out_of_time` it took longer than the worker allows. With `measured_s`, the base could not be
    measured, and so many seconds were spent on that. Neither of these is tried again by itself. With
    `unknown` the worker does not know what the run needs: that is no attempt.
    """

    fence: int
    error: Text
    is_unreadable: bool = False
    is_out_of_time: bool = False
    measured_s: Annotated[int, Field(ge=0, le=1 << 31)] | None = None
    unknown: Annotated[str, Field(max_length=200)] = ""
