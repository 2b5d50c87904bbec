"""Rows of overviews."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import Outcome, RevisionKind


@dataclass(frozen=True, slots=True)
class GlanceRow:
    """A channel with its newest revision and what is unusual about it.

    `ends_at` is when a freeze ends; `revoked_at` belongs to the served version, and `verdict` is
    the newest of a suite on it. `to_review` is the last of its moves that waits for review.
    `has_before` says whether it has served another version that is not quarantined. `request` and
    `opener` belong to the request that led to the move.
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
    """How many lines a caller may read, and how many runs wait and are under way."""

    lines: int
    queued: int
    running: int


@dataclass(frozen=True, slots=True)
class WeightsRow:
    """How many versions a caller may read, their size as files, and their stored size."""

    versions: int
    logical_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class FacetRow:
    """The number of lines whose newest version is of a kind, on a base, in a namespace."""

    namespace: str
    kind: str
    base: str | None
    lines: int
