"""Rows of versions and of facts about them."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.words import Outcome


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version as shown: with joined names, without manifest and storage map."""

    id: int
    delta_id: int
    number: int
    manifest_digest: str
    storage_revision: int
    kind: str
    variant: str
    foldable: bool
    base_root: str
    base_id: int | None
    message: str
    semver: str | None
    labels: dict[str, str]
    logical_bytes: int
    stored_bytes: int
    uploaded_bytes: int
    created_at: int
    created_by: int | None
    deleted_at: int | None
    released_at: int | None
    revoked_at: int | None
    deprecation: Mapping[str, str] | None
    proven_at: int | None
    proven_revision: int | None
    corrupt_at: int | None
    stored_by: int | None
    cold_bytes: int | None
    base_claim: str | None
    namespace: str
    line: str
    base_name: str | None
    base_identity: str | None
    maker: str | None
    trained_on: str | None
    signatures: int
    line_deprecation: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class RevocationRow:
    """A revocation, and who revoked."""

    id: int
    version_id: int
    actor_id: int
    reason: str
    created_at: int
    ended_at: int | None
    ended_by: int | None
    end_reason: str | None
    actor: str


@dataclass(frozen=True, slots=True)
class DocumentsRow:
    """The documents of a version or a base, as stored."""

    id: int
    manifest: bytes
    storage_map: bytes | None
    manifest_digest: str
    subject: str


@dataclass(frozen=True, slots=True)
class ResolvedRow(VersionRow):
    """A version with its current facts, once for each channel that serves it.

    `base_depth` belongs to a base that is a version, and the next three to a standing revocation.
    The rows are ordered by the channel's id.
    """

    verdict: Outcome | None
    warns: bool | None
    has_parents: bool
    base_depth: int | None
    revoked_by: str | None
    revoked_because: str | None
    withdrawn_at: int | None
    serving: str | None
    serving_id: int | None
