"""Which versions are merges: those that carry a merge recipe; trained versions carry none."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import sqlalchemy as sa

from deltareg.db.lines import versions as queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.delta.merge.recipe import RECIPE_FILE
from deltareg.service.digest_cache import DigestCache, describe_manifest

_MARKS: Final = (RECIPE_FILE.encode(), b"\\u")
_KNOWN: Final = DigestCache[bool](bytes_max=1 << 16)  # each counts as one byte


def is_merge(conn: sa.Connection, version: VersionRow) -> bool:
    """Whether a version carries the recipe of a merge."""
    summary = describe_manifest(version.manifest_digest, lambda: queries.content(conn, version.id).manifest)
    return RECIPE_FILE in summary.files


def merges_among(conn: sa.Connection, digests: Mapping[int, str]) -> frozenset[int]:
    """Return which of many versions are merges, in one statement for those not known yet.

    Args:
        conn: A transaction.
        digests: The digests of their manifests, by row id.
    """
    cached = {row_id: _KNOWN.get(digest) for row_id, digest in digests.items()}
    unknown = [row_id for row_id, is_one in cached.items() if is_one is None]
    for row_id, manifest in queries.manifests_of(conn, unknown) if unknown else ():
        digest = digests[row_id]
        # Where its name does not stand, nor anything that is escaped, most need not be decoded.
        may_be = any(mark in manifest for mark in _MARKS)
        is_merged = may_be and RECIPE_FILE in describe_manifest(digest, partial(bytes, manifest)).files
        cached[row_id] = _KNOWN.keep(digest, is_merged, size_bytes=1)
    return frozenset(row_id for row_id, is_one in cached.items() if is_one)
