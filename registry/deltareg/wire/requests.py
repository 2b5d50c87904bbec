"""Requests for a move that others have to approve, reviews, and the readiness of a rollback."""

from deltareg.wire.channels import UnmetRule
from deltareg.wire.messages import Answer, Reason, Request, Text
from deltareg.words import Light, RequestState


class ApprovalInfo(Answer):
    """Who approved a request, when, and with which words."""

    principal: str
    message: str
    at: str


class Setback(Answer):
    """A version that was rolled back from a channel of its line, and stands quarantined there."""

    line: str = ""
    channel: str
    version: int
    revision: int
    actor: str
    reason: str
    at: str


class RequestInfo(Answer):
    """A request to promote a version to a channel.

    `previous` is what the channel served when it was opened, `revision` the entry of the ledger
    that answered it. `missing` counts the approvals that are still due; `unmet` is what else keeps
    it from being promoted, where one request is shown, as are `setbacks`: from which channels the
    version was rolled back and is kept away. `accepted` are the warnings of its verdicts that
    whoever asked for it accepts, as `suite/check`, and `new_base` where the channel may change its
    base. `base` is the version's base, `served_base` that of what the channel serves, where one
    open request is shown.
    """

    id: int
    state: RequestState
    channel: str
    line: str
    ref: str
    version: int
    digest: str
    previous: int | None
    policy_digest: str
    seen_revision: int
    opener: str
    uploader: str | None
    reason: str
    opened_at: str
    due: int
    missing: int
    approvals: list[ApprovalInfo]
    unmet: list[UnmetRule] = []
    setbacks: list[Setback] = []
    accepted: list[str] = []
    decided_by: str | None = None
    decided_at: str | None = None
    decision: str = ""
    revision: int | None = None
    base: str = ""
    served_base: str = ""

    def _in_short(self) -> str:
        missing = f", {self.missing} approvals missing" if self.missing else ""
        return f"{self.id}: {self.ref} to {self.channel}, {self.state}{missing}"


class Approve(Request):
    """An approval, with a word about it."""

    message: Text = ""


class Reject(Request):
    """Why a request is rejected."""

    reason: Reason


class Review(Request):
    """What somebody else says of a move that broke the glass."""

    message: Reason


class ReadinessLight(Answer):
    """One thing that a rollback needs: whether it is there, in words."""

    name: str
    light: Light
    message: str


class ReadinessInfo(Answer):
    """Where a rollback of a channel would go now, and whether it would get there.

    `ref` is null where there is nothing to go back to. `ready` is the gravest of the lights. `base`
    is the base that it would go back to, `served_base` that of what the channel serves now.
    """

    channel: str
    ref: str | None
    version: int | None
    revision: int | None
    ready: Light
    lights: list[ReadinessLight]
    base: str = ""
    served_base: str = ""
