"""Revocations in words, and what they reach: all that stands on a version or was merged from it.

A revoked version is contained in all that was made of it. So no channel accepts a version that
stands on a revoked one or was merged from one, however far below. A version does not contain what
it was only trained from: the training may have removed what was wrong.
"""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from deltareg.db.bases import stacks as queries
from deltareg.db.lines import revocations as revocation_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.service.clock import rfc3339_seconds
from deltareg.service.describe import ref_of
from deltareg.service.lines.merges import is_merge
from deltareg.service.lines.near import VersionAncestry

_MOST = 256


def tell_revocation(conn: sa.Connection, version: VersionRow) -> str:
    """Describe a revocation, by whom, when and why: `revoked by ada at 2026-11-25T…Z: …`."""
    revocation = revocation_queries.standing_revocations(conn, [version.id]).get(version.id)
    if revocation is None:
        return "revoked"
    return f"revoked by {revocation.actor} at {rfc3339_seconds(revocation.created_at)}: {revocation.reason}"


def revoked_below(conn: sa.Connection, version: VersionRow, near: VersionAncestry | None = None) -> str:
    """Describe a revoked version inside a version: `is merged from ns/x:v1, which was revoked …`.

    Empty if there is none.

    Args:
        conn: A transaction.
        version: The version.
        near: What lies right below it, if it was read in this transaction.
    """
    for part, how in _parts(conn, version, near):
        if part.revoked_at is None:
            continue
        if part.namespace != version.namespace:  # nobody's business who reads the version alone
            return f"{how} a version of another namespace, which was revoked"
        return f"{how} {ref_of(part)}, which was {tell_revocation(conn, part)}"
    return ""


def parts_of(conn: sa.Connection, version: VersionRow) -> list[VersionRow]:
    """List the versions that a version contains: those that it stands on, or was merged from."""
    return [part for part, _ in _parts(conn, version)]


def made_of(conn: sa.Connection, version_id: int) -> list[VersionRow]:
    """List the versions that stand on a version or were merged from it, all the way up."""
    versions: dict[int, VersionRow] = {}
    waiting = [version_id]
    while waiting and len(versions) < _MOST:
        below = waiting.pop()
        above = [*queries.stacked_on(conn, below), *_merged_from(conn, below)]
        fresh = {row.id: row for row in above if row.id not in versions}
        versions |= fresh
        waiting += fresh
    return list(versions.values())


def _parts(
    conn: sa.Connection, version: VersionRow, near: VersionAncestry | None = None
) -> Iterator[tuple[VersionRow, str]]:
    """Yield all that a version is made of, nearest first, and how each came in."""
    visited = {version.id}
    waiting = [(version, "")]
    while waiting and len(visited) <= _MOST:
        above, how_above = waiting.pop(0)
        ancestry = near if above is version else None
        parts = [(part, "stands on") for part in _stack(conn, above, ancestry)]
        parts += [(part, "is merged from") for part in _parents_of_merge(conn, above, ancestry)]
        for part, how in parts:
            if part.id not in visited:
                visited.add(part.id)
                part_with_relation = part, how_above or how
                waiting.append(part_with_relation)
                yield part_with_relation


def _stack(conn: sa.Connection, version: VersionRow, near: VersionAncestry | None) -> Sequence[VersionRow]:
    if near is not None:
        return near.stack
    return [] if version.base_id is None else queries.stack_below(conn, version.base_id)


def _parents_of_merge(conn: sa.Connection, version: VersionRow, near: VersionAncestry | None) -> list[VersionRow]:
    parents = version_queries.parents_of(conn, version.id) if near is None else near.parents
    return list(parents) if parents and is_merge(conn, version) else []


def _merged_from(conn: sa.Connection, version_id: int) -> list[VersionRow]:
    children = version_queries.children_of(conn, version_id)
    return [child for child in children if is_merge(conn, child)]
