"""Rows of requests and approvals."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import RequestState


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request with the names that it refers to; `previous` is what the channel served then."""

    id: int
    channel_id: int
    version_id: int
    digest: str
    policy_digest: str
    seen_revision: int
    opener_id: int
    reason: str
    state: RequestState
    created_at: int
    decided_at: int | None
    decided_by: int | None
    decision: str
    revision_id: int | None
    channel: str
    policy: Mapping[str, object]
    server_floor: Mapping[str, object] | None
    namespace_floor: Mapping[str, object] | None
    delta_id: int
    namespace: str
    line: str
    number: int
    uploader_id: int | None
    opener: str
    uploader: str | None
    decider: str | None
    revision: int | None
    previous: int | None


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """An approval of a request, and who gave it."""

    request_id: int
    principal_id: int
    message: str
    created_at: int
    principal: str
    kind: str


@dataclass(frozen=True, slots=True)
class AcceptedRow:
    """A warning that was accepted with a request."""

    warning: str


@dataclass(frozen=True, slots=True)
class OpenRequestRow:
    """A request that waits for approvals."""

    id: int
    channel: str
    version: int
    opener: str
    reason: str
    created_at: int
