"""Channels, their ledgers and the gate on the wire."""

from typing import Annotated, Literal

from pydantic import Field

from deltareg.wire.messages import Answer, Request, Text

RevisionKind = Literal["promote", "rollback", "freeze", "unfreeze"]


class ChannelInfo(Answer):
    """A channel as of its newest revision, or of the moment asked for.

    `kind`, `actor`, `reason` and `at` are those of the revision, which may be a freeze.
    `is_revoked` says of the version that it serves that it was revoked, now.
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


class RevisionInfo(Answer):
    """One entry of a channel's ledger."""

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


class ChannelMove(Request):
    """A request to append a revision.

    `promote` takes `version`; `rollback` takes at most one of `version`, `revision` and `steps`
    (default: one step back). `freeze` and `unfreeze` need a `reason`; a freeze may end by itself at
    `until`, an RFC 3339 time.
    """

    kind: RevisionKind
    version: int | None = None
    revision: int | None = None
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    reason: Text = ""
    until: Text | None = None
    dry_run: bool = False


class QuarantineClear(Request):
    """Why a quarantine ends."""

    reason: Annotated[str, Field(min_length=1, max_length=2_000)]


class MoveResult(Answer):
    """The revision that a move made."""

    channel: str
    revision: int
    kind: RevisionKind
    version: int | None
    digest: str | None
    previous: int | None
    verify_run: str | None = None


class UnmetRule(Answer):
    """One rule of the gate that is not met."""

    rule: str
    message: str
    fix: str


class GateAnswer(Answer):
    """Whether a version may go to a channel, and what is missing."""

    ref: str
    channel: str
    allowed: bool
    unmet: list[UnmetRule]
