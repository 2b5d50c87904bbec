"""Rows of channels and of their ledgers."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import RevisionKind


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel."""

    id: int
    delta_id: int
    name: str
    revision: int
    policy: Mapping[str, object]
    created_at: int
    deleted_at: int | None
    server_floor: Mapping[str, object] | None
    namespace_floor: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class ServingRow(ChannelRow):
    """A channel that serves a version, with the names of its namespace and line."""

    namespace: str
    line: str
    version_id: int


@dataclass(frozen=True, slots=True)
class FloorRow:
    """A floor: the policy of the server or of a namespace for every channel."""

    id: int
    namespace_id: int | None
    policy: Mapping[str, object]
    reason: str
    created_at: int
    created_by: int | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """A revision; `version` and `previous` are numbers, `revoked_at` is the version's.

    `claims` name the workflow that moved the channel, where the token of the move was exchanged.
    """

    id: int
    channel_id: int
    number: int
    kind: RevisionKind
    version_id: int | None
    digest: str | None
    base_root: str | None
    actor_id: int
    reason: str
    verdict_ids: list[str]
    previous_version_id: int | None
    break_glass: bool
    created_at: int
    token_id: int | None
    claims: Mapping[str, object] | None
    version: int | None
    revoked_at: int | None
    previous: int | None
    actor: str
    ends_at: int | None
    request: int | None
    reviewed_by: str | None
    review: str | None
    base_name: str | None


@dataclass(frozen=True, slots=True)
class ServedBaseRow:
    """The base of the version that a channel serves."""

    base_root: str
    base_name: str | None
    base_identity: str | None


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The columns of a revision that a rollback needs; `version` is a number."""

    number: int
    kind: RevisionKind
    version_id: int | None
    version: int | None
    created_at: int
    reason: str


@dataclass(frozen=True, slots=True)
class PointerRow:
    """What a channel serves: the version's number, and in `version` its row id."""

    delta_id: int
    name: str
    number: int
    version: int


@dataclass(frozen=True, slots=True)
class StandingRow:
    """A channel with its policy, and the freeze of its newest revision if that is one."""

    delta_id: int
    name: str
    policy: Mapping[str, object]
    kind: RevisionKind
    ends_at: int | None
    server_floor: Mapping[str, object] | None
    namespace_floor: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class PinnedRow:
    """A version that a channel serves or may roll back to, and the channel's policy."""

    version_id: int
    policy: Mapping[str, object]
    server_floor: Mapping[str, object] | None
    namespace_floor: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class BrokenGlassRow:
    """A break-glass move that waits for its review; `version` is a number."""

    channel_id: int
    number: int
    kind: RevisionKind
    reason: str
    created_at: int
    actor: str
    version: int | None


@dataclass(frozen=True, slots=True)
class TermsRow:
    """The terms of a channel as last recorded."""

    id: int
    channel_id: int
    policy_digest: str
    suites: Mapping[str, str]
    created_at: int


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """The number of a version that is quarantined on a channel."""

    channel_id: int
    number: int


@dataclass(frozen=True, slots=True)
class SetbackRow:
    """A version that was rolled back from a channel and is quarantined there."""

    namespace: str
    line: str
    channel: str
    version: int
    revision: int
    actor: str
    reason: str
    created_at: int


@dataclass(frozen=True, slots=True)
class ChannelNameRow:
    """The name of a channel, and the version that it serves."""

    name: str
    version: int | None
