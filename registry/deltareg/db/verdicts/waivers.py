"""Waivers of failed checks: given, ended, and which of them stand where."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_each
from deltareg.db.sql.upsert import batches
from deltareg.db.tables import channels, principals, verdicts, versions, waiver_channels, waivers
from deltareg.db.verdicts.rows import VersionWaiverRow, WaiverRow

_OLDEST_FIRST = (waivers.c.created_at, waivers.c.id)
_STANDS = sa.and_(waivers.c.revoked_at.is_(None), waivers.c.expires_at > now_us())


@dataclass(frozen=True, slots=True)
class WaiverRecord:
    """A waiver to insert: who answers for which check.

    Attributes:
        verdict_id: The verdict.
        check_name: The check's result in it.
        reason: The reason.
        expires_at: When it expires.
        actor_id: Who gives it.
        channel_id: The channel where it counts; None for all channels, as in old waivers.
        origin_id: The waiver that it was carried over from by a continuation.
    """

    verdict_id: str
    check_name: str
    reason: str
    expires_at: int
    actor_id: int
    channel_id: int | None
    origin_id: str | None = None


def add_waiver(conn: sa.Connection, waiver_id: str, answered: WaiverRecord) -> None:
    """Insert a waiver."""
    conn.execute(
        sa.insert(waivers).values(
            id=waiver_id,
            verdict_id=answered.verdict_id,
            check_name=answered.check_name,
            reason=answered.reason,
            expires_at=answered.expires_at,
            actor_id=answered.actor_id,
        )
    )
    if answered.channel_id is not None:
        conn.execute(
            sa.insert(waiver_channels).values(
                waiver_id=waiver_id, channel_id=answered.channel_id, origin_id=answered.origin_id
            )
        )


def hold_waivers(conn: sa.Connection, version_id: int) -> None:
    """Lock the waivers of a version against changes by others until the transaction ends."""
    query = sa.select(versions.c.id).where(versions.c.id == version_id)
    conn.execute(query.with_for_update(key_share=True))


def end_waivers(
    conn: sa.Connection, verdict_id: str, *, check_name: str, channel: str | None, revoked_by: int
) -> Sequence[str]:
    """End the standing waivers of a check, and those carried over from them; return their ids.

    Args:
        conn: The transaction.
        verdict_id: The verdict.
        check_name: The check.
        channel: Only those of this channel; None ends all.
        revoked_by: Who ends them.
    """
    family = sa.func.coalesce(waiver_channels.c.origin_id, waivers.c.id)
    families = (
        sa.select(family)
        .select_from(waivers)
        .outerjoin(waiver_channels, waiver_channels.c.waiver_id == waivers.c.id)
        .outerjoin(channels, channels.c.id == waiver_channels.c.channel_id)
        .where(waivers.c.verdict_id == verdict_id, waivers.c.check_name == check_name, _STANDS)
    )
    if channel is not None:
        families = families.where(channels.c.name == channel)
    origins = conn.execute(families).scalars().all()
    carried = sa.select(waiver_channels.c.waiver_id).where(waiver_channels.c.origin_id.in_(origins))
    update = (
        sa.update(waivers)
        .where(sa.or_(waivers.c.id.in_(origins), waivers.c.id.in_(carried)), _STANDS)
        .values(revoked_at=now_us(), revoked_by=revoked_by)
        .returning(waivers.c.id)
    )
    return conn.execute(update).scalars().all()


def waivers_of(conn: sa.Connection, verdict_ids: Iterable[str]) -> dict[str, list[WaiverRow]]:
    """Return the waivers of verdicts, ended ones too, oldest first; `stands` tells which count."""
    by_verdict: dict[str, list[WaiverRow]] = {}
    for part in batches(sorted(set(verdict_ids))):
        query = select_waivers().where(waivers.c.verdict_id.in_(part)).order_by(*_OLDEST_FIRST)
        for row in fetch_each(conn, query, WaiverRow):
            by_verdict.setdefault(row.verdict_id, []).append(row)
    return by_verdict


def waivers_on_versions(conn: sa.Connection, version_ids: Iterable[int]) -> dict[int, list[VersionWaiverRow]]:
    """Return the standing waivers on the verdicts of versions, oldest first, by version."""
    query = select_standing_waivers().where(verdicts.c.version_id.in_(sorted(set(version_ids))))
    query = query.order_by(*_OLDEST_FIRST)
    by_version: dict[int, list[VersionWaiverRow]] = {}
    for row in fetch_each(conn, query, VersionWaiverRow):
        by_version.setdefault(row.version_id, []).append(row)
    return by_version


def select_standing_waivers() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for standing waivers, with the version that each is about."""
    return (
        select_waivers()
        .add_columns(verdicts.c.version_id)
        .join(verdicts, verdicts.c.id == waivers.c.verdict_id)
        .where(_STANDS)
    )


@cache
def select_waivers() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for waivers, and whether each stands now."""
    ender = principals.alias("ender")
    return (
        sa.select(
            waivers,
            _STANDS.label("stands"),
            principals.c.name.label("actor"),
            ender.c.name.label("ender"),
            waiver_channels.c.channel_id,
            waiver_channels.c.origin_id,
            channels.c.name.label("channel"),
        )
        .join(principals, principals.c.id == waivers.c.actor_id)
        .outerjoin(ender, ender.c.id == waivers.c.revoked_by)
        .outerjoin(waiver_channels, waiver_channels.c.waiver_id == waivers.c.id)
        .outerjoin(channels, channels.c.id == waiver_channels.c.channel_id)
    )
