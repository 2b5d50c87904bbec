"""Runs, leases and verdicts on the wire."""

from typing import Annotated, Literal

from pydantic import Field

from deltareg.wire.bases import BaseInfo
from deltareg.wire.messages import Answer, Outcome, Request, Text

CheckOutcome = Literal["pass", "fail", "warn", "skipped", "n/a"]
RunState = Literal["queued", "running", "done", "dead", "cancelled"]


class CheckResult(Answer):
    """The outcome of one check."""

    name: str
    value: float | int | str | None = None
    threshold: float | int | str | None = None
    baseline: float | int | str | None = None
    verdict: CheckOutcome
    seconds: float = 0.0
    code: str = ""
    detail: str = ""


class VerdictReport(Request):
    """What a worker found; the server binds it to the run's version, base and suite."""

    fence: int
    verdict: Outcome
    verifier: Text
    suite_digest: str
    dtype: str
    seed: int
    base_evidence: Literal["exact", "golden", "shapes", "declared"]
    checks: Annotated[list[CheckResult], Field(max_length=200)]
    environment: dict[str, str]
    sandbox: Text = ""


class VerdictInfo(Answer):
    """A verdict and what it is bound to."""

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


class RunCreate(Request):
    """Queue a run, or join one that is already under way for the same thing.

    `channel` is whose version a suite compares with, where it does: `prod` when it is not said.
    """

    what: Literal["verify"] = "verify"
    ref: Annotated[str, Field(max_length=300)]
    suite: str = "smoke"
    channel: str | None = None
    again: bool = False
    labels: dict[str, str] = {}


class StoredChange(Answer):
    """What a re-encode run came to: the bytes that a version took, and takes now."""

    before: int
    after: int


class RunInfo(Answer):
    """A run of the queue.

    Of a re-encode run, `against` is `base` or `smallest`, and `stored_bytes` what came of it.
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
    created_at: str
    started_at: str | None
    finished_at: str | None


class LeaseRequest(Request):
    """A worker asks for work, of the kinds that it does."""

    worker: Annotated[str, Field(max_length=120)]
    labels: dict[str, str] = {}
    wait_s: Annotated[float, Field(ge=0, le=60)] = 0
    what: list[Literal["verify", "reencode"]] = ["verify"]


class LeaseGrant(Answer):
    """A run given to a worker until the lease ends.

    A re-encode run has no suite; `against` says what the version is to be encoded against.
    `promoted` is the version that the suite compares with, when it does and there is one.
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


class LeaseHold(Request):
    """What shows that a worker holds a run; sent as a heartbeat, too."""

    run: str
    fence: int


class ReencodeReport(Request):
    """The new form of a version, whose packs an upload of the run has brought."""

    fence: int
    upload: str
    storage_map: str


class RunFailure(Request):
    """A worker could not do the run; it may be tried again."""

    fence: int
    error: Text
