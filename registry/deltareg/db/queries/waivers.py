"""Waivers of failed checks: given, ended, and which stand now."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from deltareg.db.clock import now_us
from deltareg.db.rows import VersionWaiverRow, WaiverRow, fetch_each
from deltareg.db.tables import principals, verdicts, waivers
from deltareg.db.upsert import batches

_STANDS = sa.and_(waivers.c.revoked_at.is_(None), waivers.c.expires_at > now_us())


def add_waiver(
    conn: sa.Connection,
    *,
    waiver_id: str,
    verdict_id: str,
    check_name: str,
    reason: str,
    expires_at: int,
    actor_id: int,
) -> None:
    """Insert a waiver."""
    conn.execute(
        sa.insert(waivers).values(
            id=waiver_id, verdict_id=verdict_id, check_name=check_name, reason=reason,
            expires_at=expires_at, actor_id=actor_id,
        )
    )  # fmt: skip


def end_waivers(
    conn: sa.Connection, verdict_id: str, *, check_name: str, revoked_by: int
) -> Sequence[str]:
    """End the waivers of a check that stand, and give their ids."""
    update = (
        sa.update(waivers)
        .where(waivers.c.verdict_id == verdict_id, waivers.c.check_name == check_name, _STANDS)
        .values(revoked_at=now_us(), revoked_by=revoked_by)
        .returning(waivers.c.id)
    )
    return conn.execute(update).scalars().all()


def waivers_of(conn: sa.Connection, verdict_ids: Iterable[str]) -> dict[str, list[WaiverRow]]:
    """Give the waivers of verdicts, ended ones too, the oldest first; `stands` says which hold."""
    found: dict[str, list[WaiverRow]] = {}
    for part in batches(sorted(set(verdict_ids))):
        for row in fetch_each(conn, _select().where(waivers.c.verdict_id.in_(part)), WaiverRow):
            found.setdefault(row.verdict_id, []).append(row)
    return found


def waivers_on_versions(
    conn: sa.Connection, version_ids: Iterable[int]
) -> dict[int, list[VersionWaiverRow]]:
    """Give the waivers that stand on the verdicts of versions, the oldest first, by version."""
    query = (
        _select()
        .add_columns(verdicts.c.version_id)
        .join(verdicts, verdicts.c.id == waivers.c.verdict_id)
        .where(verdicts.c.version_id.in_(sorted(set(version_ids))), _STANDS)
    )
    found: dict[int, list[VersionWaiverRow]] = {}
    for row in fetch_each(conn, query, VersionWaiverRow):
        found.setdefault(row.version_id, []).append(row)
    return found


@cache
def _select() -> sa.Select[*tuple[Any, ...]]:
    ender = principals.alias("ender")
    return (
        sa.select(
            waivers,
            _STANDS.label("stands"),
            principals.c.name.label("actor"),
            ender.c.name.label("ender"),
        )
        .join(principals, principals.c.id == waivers.c.actor_id)
        .outerjoin(ender, ender.c.id == waivers.c.revoked_by)
        .order_by(waivers.c.created_at, waivers.c.id)
    )
