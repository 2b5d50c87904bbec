"""Versions with the same weights: what a push is told of them, never by way of what is hidden.

A version is found by a digest over its tensors, and by marks of some of them. Tensors that the base
has as well, and those of no module, which all deltas of a kind may share, say nothing and are left
out. What the marks find is compared tensor by tensor before anything is said.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from deltareg.db.bases import bases as base_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines import weights as queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.delta.kind import BaseView
from deltareg.digest import sha256_of
from deltareg.errors import DeltaregError
from deltareg.identity.manifest import Manifest
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.describe import line_of, ref_of
from deltareg.service.digest_cache import decode_manifest, view_of_base
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.wire.versions import AlikeVersion

log = logging.getLogger(__name__)

LEAST_SHARE = 0.9
"""How much of its bytes another version has to share to be called nearly the same."""
_EACH = 8
_SHOWN = 3
_COMPARED = 8


@dataclass(frozen=True, slots=True)
class WeightMarks:
    """By what the weights of a version are found.

    Attributes:
        digest: Over the digests of all tensors, whatever files and names they come by.
        size_bytes: Of all these tensors.
        marks: Of the largest tensors, and of those with the lowest digests.
    """

    digest: str
    size_bytes: int
    marks: frozenset[int]


def marks_of(manifest: Manifest, base: BaseView | None) -> WeightMarks:
    """Return by what the weights of a manifest are found; `base` is None where it is unknown."""
    return _marks(_sizes(manifest, base))


def _marks(sizes: Mapping[str, int]) -> WeightMarks:
    largest = sorted(sizes, key=lambda digest: (-sizes[digest], digest))[:_EACH]
    lowest = sorted(sizes)[:_EACH]
    lines = "\n".join(f"{digest} {size}" for digest, size in sorted(sizes.items()))
    return WeightMarks(
        str(sha256_of(lines.encode())),
        sum(sizes.values()),
        frozenset(int(digest.rpartition(":")[2][:16], 16) >> 1 for digest in {*largest, *lowest}),
    )


def keep_weights(conn: sa.Connection, version_id: int, found: WeightMarks) -> None:
    """Store by what a version's weights are found, in the transaction of its push."""
    queries.put_weights(conn, version_id, digest=found.digest, size_bytes=found.size_bytes, marks=found.marks)


def find_alike(
    registry: Registry, caller: Caller, ref: Ref, manifest: Manifest, base: BaseView | None
) -> list[AlikeVersion]:
    """Find versions with the same weights as one, or nearly the same, among those the caller reads.

    In the line of the version itself only the very same ones count, as the next checkpoint often
    shares much. It is a help and no rule: where it fails, nothing is found.

    Args:
        registry: The database and the store.
        caller: Who asks.
        ref: The version.
        manifest: Its manifest.
        base: Its base; None where that is unknown.
    """
    try:
        with read(registry.engine) as conn:
            return _find(conn, caller, find_version(conn, caller, ref, bare="newest"), manifest, base)
    except (DeltaregError, SQLAlchemyError) as error:
        log.warning("versions like %s are not looked for: %s", ref, error)
        return []


def read_weights(conn: sa.Connection, row: VersionRow) -> WeightMarks:
    """Read by what the weights of a stored version are found."""
    return marks_of(_manifest(conn, row), _base(conn, row))


def _find(
    conn: sa.Connection, caller: Caller, row: VersionRow, manifest: Manifest, base: BaseView | None
) -> list[AlikeVersion]:
    own = _sizes(manifest, base)
    found = _marks(own)
    total = found.size_bytes
    if not total:
        return []
    same = queries.same_weights(conn, found.digest, but=row.id, sight=caller.sight, limit=_SHOWN)
    if same:
        return _describe(conn, caller, {each.id: 1.0 for each in same})
    near = queries.sharing_marks(
        conn,
        found.marks,
        but=row.id,
        least=(len(found.marks) + 1) // 2,
        within=(int(total * LEAST_SHARE), int(total / LEAST_SHARE) + 1),
        sight=caller.sight,
        limit=_COMPARED,
    )
    shares: dict[int, float] = {}
    for each in near:
        if each.delta_id != row.delta_id:
            other = version_queries.version_by_id(conn, each.id)
            shares[each.id] = _share(own, _sizes(_manifest(conn, other), _base(conn, other)))
    nearest = sorted(shares.items(), key=lambda one: (-one[1], one[0]))
    return _describe(conn, caller, dict([one for one in nearest if one[1] >= LEAST_SHARE][:_SHOWN]))


def _share(own: Mapping[str, int], other: Mapping[str, int]) -> float:
    shared = sum(min(size, other.get(digest, 0)) for digest, size in own.items())
    return shared / max(sum(own.values()), sum(other.values()))


def _sizes(manifest: Manifest, base: BaseView | None) -> dict[str, int]:
    """Return the bytes of each tensor that is a version's own, by digest."""
    of_base = set[str]() if base is None else {str(record.digest) for record in base.tensors.values()}
    sizes: dict[str, int] = {}
    for tensor in manifest.tensors:
        digest = str(tensor.digest)
        if tensor.target and digest not in of_base:
            sizes[digest] = sizes.get(digest, 0) + tensor.piece.size_bytes
    return sizes


def _manifest(conn: sa.Connection, row: VersionRow) -> Manifest:
    return decode_manifest(row.manifest_digest, lambda: version_queries.content(conn, row.id).manifest)


def _base(conn: sa.Connection, row: VersionRow) -> BaseView | None:
    base = base_queries.base_of(conn, row)
    if base is None:
        return None
    return view_of_base(base.manifest_digest, lambda: base_queries.base_content(conn, base.id).manifest)


def _describe(conn: sa.Connection, caller: Caller, shares: Mapping[int, float]) -> list[AlikeVersion]:
    rows = version_queries.versions_by_ids(conn, list(shares))
    return [
        AlikeVersion(ref=ref_of(rows[row_id]), share=round(share, 4), is_revoked=rows[row_id].revoked_at is not None)
        for row_id, share in shares.items()
        if caller.may(Right.READ, on=line_of(rows[row_id]))
    ]
