"""Rows of packs, of uploads, and of their contents."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import UploadState


@dataclass(frozen=True, slots=True)
class PackRow:
    """A pack."""

    id: int
    scope: str
    digest: str
    physical_key: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BadPackRow:
    """A pack whose object is damaged or missing, and why."""

    digest: str
    bad_why: str | None


@dataclass(frozen=True, slots=True)
class EntryRow:
    """The place of a piece, as stored."""

    id: int
    digest: str
    entry: bytes


@dataclass(frozen=True, slots=True)
class PieceEntryRow:
    """The place of a piece, as stored, and the digests of the packs that contain it."""

    id: int
    digest: str
    entry: bytes
    packs: frozenset[str]


@dataclass(frozen=True, slots=True)
class PackSizeRow:
    """A pack that nothing needs."""

    id: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class MarkedPackRow:
    """A pack that is marked for deletion."""

    id: int
    physical_key: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PackStateRow:
    """A pack that a version needs."""

    state: str
    physical_key: str


@dataclass(frozen=True, slots=True)
class LeftoverRow:
    """A key that a closed upload wrote or may have written."""

    id: int
    physical_key: str


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An upload; a closed one has no manifest any more."""

    id: str
    principal_id: int
    scope: str
    subject: str
    target: str
    manifest_digest: str
    manifest: bytes | None
    request: Mapping[str, object]
    state: UploadState
    created_at: int
    touched_at: int
    version_id: int | None
    base_id: int | None


@dataclass(frozen=True, slots=True)
class ReceivedPackRow:
    """A pack that an upload has received."""

    digest: str
    size_bytes: int
    physical_key: str


@dataclass(frozen=True, slots=True)
class LooseKeyRow:
    """A key that may hold an object other than a live pack; the size is None if it is uncertain."""

    scope: str
    physical_key: str
    is_open: bool
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class HolderRow:
    """The sums of live versions or stored bases of a kind; a plain base has none of the names."""

    namespace: str | None
    line: str | None
    number: int | None
    is_base: int
    kind: str
    holders: int
    logical_bytes: int
    manifest_bytes: int
    map_bytes: int
    pack_bytes: int
    referenced_bytes: int
    referenced_payload: int
    alone_bytes: int
    alone_payload: int
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class ShareRow:
    """The share of a live version or standing base in a pack of `size_bytes`; a base has no line and kind."""

    is_base: int
    holder: int
    pack_id: int
    created_at: int
    is_owner: bool | None
    delta_id: int | None
    kind: str | None
    size_bytes: int
    referenced_bytes: int
    referenced_payload: int
    alone_bytes: int
    alone_payload: int


@dataclass(frozen=True, slots=True)
class StorageChangeRow:
    """What is to be added to the storage of a line, if it names one, and a pack that may count for another now."""

    id: int
    pack_id: int | None
    delta_id: int | None
    kind: str | None
    versions: int
    logical_bytes: int
    manifest_bytes: int
    map_bytes: int
    pack_bytes: int
    referenced_bytes: int
    referenced_payload: int
    alone_bytes: int
    alone_payload: int
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class MovingPackRow:
    """A pack of a line that leaves its scope, and whether something that stays needs it as well."""

    id: int
    digest: str
    physical_key: str
    size_bytes: int
    is_shared: bool
