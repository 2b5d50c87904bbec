"""What is revoked, in words, and what is made of it: all that stands on it or was merged from it.

What was withdrawn is in all that was made of it. So a version that stands on a revoked one, or was
merged from one, goes to no channel either, however far below that one lies. What a version was
trained from is no part of it: it may have been trained away from what was wrong.
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
    """Say of a revoked version by whom, when and why: `revoked by ada at 2026-11-25T…Z: …`."""
    found = revocation_queries.standing_revocations(conn, [version.id]).get(version.id)
    if found is None:
        return "revoked"
    return f"revoked by {found.actor} at {rfc3339_seconds(found.created_at)}: {found.reason}"


def revoked_below(conn: sa.Connection, version: VersionRow, near: VersionAncestry | None = None) -> str:
    """Say which revoked version is in a version: `is merged from ns/x:v1, which was revoked …`.

    It is empty where there is none.

    Args:
        conn: A transaction.
        version: The version.
        near: What lies right below it, where that was read in this transaction.
    """
    for part, how in _parts(conn, version, near):
        if part.revoked_at is None:
            continue
        if part.namespace != version.namespace:  # nobody's business who reads the version alone
            return f"{how} a version of another namespace, which was revoked"
        return f"{how} {ref_of(part)}, which was {tell_revocation(conn, part)}"
    return ""


def parts_of(conn: sa.Connection, version: VersionRow) -> list[VersionRow]:
    """List the versions that are in a version: those that it stands on, or was merged from."""
    return [part for part, _ in _parts(conn, version)]


def made_of(conn: sa.Connection, version_id: int) -> list[VersionRow]:
    """List the versions that stand on a version or were merged from it, all the way up."""
    found: dict[int, VersionRow] = {}
    waiting = [version_id]
    while waiting and len(found) < _MOST:
        below = waiting.pop()
        above = [*queries.stacked_on(conn, below), *_merged_from(conn, below)]
        fresh = {row.id: row for row in above if row.id not in found}
        found |= fresh
        waiting += fresh
    return list(found.values())


def _parts(
    conn: sa.Connection, version: VersionRow, near: VersionAncestry | None = None
) -> Iterator[tuple[VersionRow, str]]:
    """Give all that a version is made of, what is nearest first, and how it came in."""
    seen = {version.id}
    waiting = [(version, "")]
    while waiting and len(seen) <= _MOST:
        above, how_above = waiting.pop(0)
        known = near if above is version else None
        parts = [(part, "stands on") for part in _stack(conn, above, known)]
        parts += [(part, "is merged from") for part in _parents_of_merge(conn, above, known)]
        for part, how in parts:
            if part.id not in seen:
                seen.add(part.id)
                found = part, how_above or how
                waiting.append(found)
                yield found


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
