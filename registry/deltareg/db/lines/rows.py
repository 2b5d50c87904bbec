"""Rows of delta lines and of their events."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import EventKind


@dataclass(frozen=True, slots=True)
class LineRow:
    """A line."""

    id: int
    namespace_id: int
    name: str
    next_version: int
    created_at: int
    created_by: int | None
    deleted_at: int | None
    deprecation: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class ListedLineRow:
    """A line in a list: `path` is `ns/name`, `newest_id` the row of its newest version.

    `mark` is the newest row of the audit trail: while it is the same, nothing has changed anywhere.
    """

    id: int
    created_at: int
    path: str
    versions: int
    newest_id: int | None
    mark: int | None


@dataclass(frozen=True, slots=True)
class LineCountRow:
    """How many versions of a line are there for a base, 0 for none, or were trained on a variant; and their bytes."""

    delta_id: int
    base_id: int
    versions: int
    trained: int
    logical_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of a line; `mark` breaks ties within a microsecond."""

    at: int
    mark: str
    event: EventKind
    number: int | None
    actor: str | None
    channel: str | None
    outcome: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class AliasOfLineRow:
    """A former name of a line, and the one that it has now."""

    namespace: str
    name: str
    to_namespace: str
    to_name: str


@dataclass(frozen=True, slots=True)
class AliasOfChannelRow:
    """A former name of a channel of a line, and the one that it has now."""

    namespace: str
    line: str
    name: str
    to_name: str
