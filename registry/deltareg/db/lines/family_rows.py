"""Rows of versions as relatives of each other."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KinRow:
    """A version among its relatives; `stands_on` is the version that its base is, if any."""

    id: int
    namespace: str
    line: str
    number: int
    kind: str
    manifest_digest: str
    deleted_at: int | None
    revoked_at: int | None
    base_name: str | None
    stands_on: int | None


@dataclass(frozen=True, slots=True)
class ServedRow:
    """A channel that serves a version, by the version's row id."""

    version_id: int
    channel: str
