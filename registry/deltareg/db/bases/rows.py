"""Rows of bases."""

from dataclasses import dataclass

from deltareg.words import Relation


@dataclass(frozen=True, slots=True)
class BaseRow:
    """A base as shown, without its documents.

    Six fields apply to a base that is a version, and the last four to one that is a variant. The
    identity is None if it has not been computed yet.
    """

    id: int
    name: str
    root: str
    config_digest: str
    tokenizer_digest: str | None
    manifest_digest: str
    location: str | None
    logical_bytes: int
    stored_bytes: int
    created_at: int
    created_by: int | None
    storage_revision: int
    proven_at: int | None
    proven_revision: int | None
    corrupt_at: int | None
    stored_by: int | None
    is_stored: bool
    maker: str | None
    deltas: int
    identity: str | None
    parts: dict[str, str] | None
    is_partial: bool | None
    version_id: int | None
    bottom_id: int | None
    depth: int | None
    recipe: str | None
    bottom_name: str | None
    bottom_root: str | None
    scheme: str | None
    full_id: int | None
    full_name: str | None
    full_root: str | None


@dataclass(frozen=True, slots=True)
class UnmeasuredRow:
    """A base that could not be measured, and whether another worker has measured it."""

    base_id: int
    reason: str
    is_measured: bool


@dataclass(frozen=True, slots=True)
class FiguresRow:
    """A worker's signed figures of a base in some surroundings."""

    surroundings: str
    keyid: str
    envelope: bytes
    created_at: int
    signer: str


@dataclass(frozen=True, slots=True)
class VariantRow:
    """A variant of a base, with what tells it from the others."""

    id: int
    name: str
    root: str
    identity: str | None


@dataclass(frozen=True, slots=True)
class OwnVariantRow:
    """A variant of the base `root_id`, with what tells it from the others."""

    root_id: int
    name: str
    root: str
    identity: str | None


@dataclass(frozen=True, slots=True)
class OwnRelationRow:
    """What is recorded of the base `base_id` and another, with the other's name where it is here."""

    base_id: int
    relation: Relation
    other_root: str
    name: str | None


@dataclass(frozen=True, slots=True)
class CalledRow:
    """A name of the base `base`: its own, a former one or a hub id."""

    base: str
    called: str


@dataclass(frozen=True, slots=True)
class HubIdRow:
    """A hub id of a base, and its revision."""

    base_id: int
    hub_id: str
    revision: str


@dataclass(frozen=True, slots=True)
class BaseManifestRow:
    """A base with its manifest."""

    id: int
    root: str
    manifest: bytes


@dataclass(frozen=True, slots=True)
class AliasRow:
    """A former name of a base."""

    base_id: int
    name: str


@dataclass(frozen=True, slots=True)
class BaseBytesRow:
    """How many bytes of a base are stored here."""

    stored_bytes: int
