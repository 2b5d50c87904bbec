"""Rows of what is shown at a glance."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import Outcome, RevisionKind


@dataclass(frozen=True, slots=True)
class GlanceRow:
    """A channel with its newest revision and what is out of the ordinary about it.

    `ends_at` is when a freeze ends; `revoked_at` is of the version that is served, `verdict` the
    newest of a suite on it. `to_review` is the last of its moves that waits for one;
    `has_before` says that it served another version that is not quarantined; `request` and `opener`
    are of what asked for the move.
    """

    namespace: str
    line: str
    channel: str
    number: int
    kind: RevisionKind
    version: int | None
    actor: str
    reason: str
    created_at: int
    ends_at: int | None
    policy: Mapping[str, object]
    server_floor: Mapping[str, object] | None
    namespace_floor: Mapping[str, object] | None
    to_review: int | None
    has_before: bool
    request: int | None
    opener: str | None
    revoked_at: int | None
    quarantined: int
    verdict: Outcome | None
    now: int


@dataclass(frozen=True, slots=True)
class CountsRow:
    """How many lines a caller may read, and how much work waits and goes on."""

    lines: int
    queued: int
    running: int


@dataclass(frozen=True, slots=True)
class WeightsRow:
    """How many versions a caller may read, what they are as files, and what they take."""

    versions: int
    logical_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class FacetRow:
    """How many lines have newest versions of a kind, on a base, in a namespace."""

    namespace: str
    kind: str
    base: str | None
    lines: int
