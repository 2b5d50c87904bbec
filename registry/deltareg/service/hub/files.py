"""The files of a commit, each by its sha256, as the hub lists files in its large storage."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.session import read
from deltareg.db.storage import proofs
from deltareg.errors import NotFound
from deltareg.identity.manifest import Manifest
from deltareg.service.digest_cache import decode_manifest
from deltareg.service.hub.main_version import Main
from deltareg.service.hub.snapshots import MissingContent, Snapshot, find_snapshot
from deltareg.service.registry import Caller, Registry

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class CommitFile:
    """A file of a commit.

    Attributes:
        path: Relative, with `/`.
        size_bytes: Its length.
        sha256: Its digest, 64 hexadecimal digits.
    """

    path: str
    size_bytes: int
    sha256: str

    @property
    def pointer(self) -> bytes:
        """The small file that stands for this one in a git repository (Git LFS, version 1)."""
        lines = (
            "version https://git-lfs.github.com/spec/v1",
            f"oid sha256:{self.sha256}",
            f"size {self.size_bytes}",
            "",
        )
        return "\n".join(lines).encode()

    @property
    def blob_id(self) -> str:
        """The id that git gives to the pointer."""
        raw = self.pointer
        return hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class CommitTree:
    """A commit with its files by path, its kind, and the library that wrote the files."""

    snapshot: Snapshot
    files: Sequence[CommitFile]
    kind: str
    library: str


def look_for_files(
    registry: Registry, caller: Caller, repository: str, revision: str, *, main: Main
) -> CommitTree | MissingContent:
    """Find a commit and list its files; the arguments are those of `snapshots.look_for`."""
    with read(registry.engine) as conn:
        snapshot = find_snapshot(conn, caller, repository, revision, main=main)
        if isinstance(snapshot, MissingContent):
            return snapshot
        manifest = manifest_of(conn, snapshot)
    return CommitTree(snapshot, files_of(manifest), manifest.kind, manifest.source.library)


def manifest_of(conn: sa.Connection, snapshot: Snapshot) -> Manifest:
    """Return the manifest of a commit."""
    return decode_manifest(snapshot.manifest_digest, lambda: proofs.content(conn, snapshot.held).manifest)


def files_of(manifest: Manifest) -> list[CommitFile]:
    """List the files of a manifest."""
    return [CommitFile(file.path, file.size_bytes, file.digest.hex) for file in manifest.files]


def no_file(snapshot: Snapshot, path: str, files: Sequence[CommitFile]) -> MissingContent:
    """Build the answer that a commit has no such file or folder.

    Clients cache a missing file by commit. A commit of the hub is left out, because there it may
    have the file.
    """
    paths = ", ".join(file.path for file in files[:_SHOWN])
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    error = NotFound(f"{snapshot.name} has no {path[:120]!r}; it has {paths}{more}")
    return MissingContent("file", error, commit="" if snapshot.of_hub else snapshot.commit)
