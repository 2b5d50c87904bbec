"""Files that a commit copies within a line: a client names their digest and sends no bytes.

What the newest version or the draft has is there already. The bytes of an older version are staged,
as if they had been sent.
"""

from collections.abc import Collection, Mapping
from functools import partial

import sqlalchemy as sa

from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read, with_retry
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef
from deltareg.service.access.founding import require_push
from deltareg.service.digest_cache import decode_manifest
from deltareg.service.hub.content import look_for_content
from deltareg.service.hub.drafts import DraftState
from deltareg.service.hub.files import CommitFile
from deltareg.service.hub.snapshots import MissingContent
from deltareg.service.push.staging import find_staged, stage
from deltareg.service.registry import Caller, Registry

_MOST_VERSIONS = 200
"""Versions that are looked through, newest first."""


def find_copied(
    registry: Registry, caller: Caller, line: LineRef, standing: DraftState, copied: Mapping[str, str]
) -> dict[str, CommitFile]:
    """Return the files that a commit copies, by the paths that they are copied to.

    Args:
        registry: The database and the store.
        caller: Who commits.
        line: The line that is committed to.
        standing: Its state for the caller.
        copied: The sha256 of each file, by the path that it is copied to.

    Raises:
        Forbidden: The caller may not push there.
        InvalidInput: The line has no such file.
    """
    # To found is to look and to lock.
    with_retry(registry.engine, lambda conn: require_push(conn, caller, on=line))
    sizes = {file.sha256: file.size_bytes for file in (*standing.before.values(), *standing.files.values())}
    staged = find_staged(registry, str(line), caller, set(copied.values()) - sizes.keys())
    sizes |= {sha256: row.size_bytes for sha256, row in staged.items()}
    sizes |= _stage_older(registry, caller, line, set(copied.values()) - sizes.keys())
    for path, sha256 in copied.items():
        if sha256 not in sizes:
            raise InvalidInput(
                f"{path} is to be a copy, and no version of {line} has a file with the sha256 {sha256[:12]}…",
                fix="files are copied within one delta; push the file itself",
            )
    return {path: CommitFile(path, sizes[sha256], sha256) for path, sha256 in copied.items()}


def _stage_older(registry: Registry, caller: Caller, line: LineRef, digests: Collection[str]) -> dict[str, int]:
    """Stage files that only older versions of a line have; return their lengths by sha256."""
    sizes: dict[str, int] = {}
    for sha256, (manifest_digest, path) in _places(registry, line, digests).items():
        content = look_for_content(registry, caller, str(line), manifest_digest, path, main="newest")
        if isinstance(content, MissingContent):
            raise content.error
        size = content.entry.size_bytes
        body = (bytes(chunk) for chunk in content.read(0, size))
        stage(registry, str(line), caller.principal_id, sha256=sha256, size_bytes=size, body=body)
        sizes[sha256] = size
    return sizes


def _places(registry: Registry, line: LineRef, digests: Collection[str]) -> dict[str, tuple[str, str]]:
    """Find which version has each file: its digest, and the path there."""
    places: dict[str, tuple[str, str]] = {}
    with read(registry.engine) as conn:
        row = delta_queries.delta_row(conn, line.namespace, line.name) if digests else None
        if row is None:
            return {}
        for version in version_queries.version_rows(conn, row.id, before=None, limit=_MOST_VERSIONS):
            if len(places) == len(digests):
                break
            manifest = decode_manifest(version.manifest_digest, partial(_manifest, conn, version.id))
            for file in manifest.files:
                if file.digest.hex in digests:
                    places.setdefault(file.digest.hex, (version.manifest_digest, file.path))
    return places


def _manifest(conn: sa.Connection, version_id: int) -> bytes:
    return version_queries.content(conn, version_id).manifest
