"""The waivers of verdicts, as the gate and readers of a verdict see them."""

from collections.abc import Iterable, Sequence
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.runs.rows import RunRow
from deltareg.db.sql.row_protocols import present
from deltareg.db.verdicts import verdicts as verdict_queries
from deltareg.db.verdicts import waivers as queries
from deltareg.db.verdicts.rows import VerdictRow, VersionWaiverRow, WaiverRow
from deltareg.errors import NotFound
from deltareg.service.clock import rfc3339, rfc3339_or_none, rfc3339_seconds
from deltareg.service.describe import line_of
from deltareg.service.registry import Caller
from deltareg.wire import Waiver


def standing_waivers(
    conn: sa.Connection, verdict_ids: Iterable[str], *, channel_id: int | None = None
) -> dict[str, dict[str, str]]:
    """Return the checks of verdicts that are waived now: `until … by ada: …`, by verdict and check.

    Args:
        conn: A connection.
        verdict_ids: The verdicts.
        channel_id: The channel on which they must count; None for any.
    """
    waivers = queries.waivers_of(conn, verdict_ids).items()
    return {verdict_id: standing_on(rows, channel_id=channel_id) for verdict_id, rows in waivers}


def standing_on(rows: Iterable[WaiverRow], *, channel_id: int | None = None) -> dict[str, str]:
    """Return the standing waivers of a verdict, by check; on one channel, or on any."""
    return {
        row.check_name: _tell(row)
        for row in rows
        if row.stands and (channel_id is None or row.channel_id in {None, channel_id})
    }


def carry_waivers(conn: sa.Connection, run: RunRow, verdict_id: str, failed: Sequence[str]) -> None:
    """Copy the standing waivers of a verdict to the verdict of its continuation.

    The copies end when the originals do, by their time or by hand.

    Args:
        conn: The transaction that ends the run.
        run: The run, which names the verdict before.
        verdict_id: The new verdict.
        failed: The checks that failed in it.
    """
    before = str(run.request["continues"])
    queries.hold_waivers(conn, present(run.version_id))
    for row in queries.waivers_of(conn, [before]).get(before, []):
        if row.stands and row.check_name in failed:
            again = queries.WaiverRecord(
                verdict_id,
                row.check_name,
                row.reason,
                row.expires_at,
                row.actor_id,
                row.channel_id,
                row.origin_id or row.id,
            )
            queries.add_waiver(conn, str(uuid4()), again)


def describe_waivers(conn: sa.Connection, verdict_ids: Iterable[str]) -> dict[str, list[Waiver]]:
    """Describe the waivers of verdicts, by verdict, ended ones too."""
    waivers = queries.waivers_of(conn, verdict_ids)
    return {verdict_id: [_show(row) for row in rows] for verdict_id, rows in waivers.items()}


def standing_on_versions(conn: sa.Connection, version_ids: Iterable[int]) -> dict[int, list[Waiver]]:
    """Describe the standing waivers on verdicts of versions, by version."""
    waivers = queries.waivers_on_versions(conn, version_ids)
    return {version_id: show_waivers(rows) for version_id, rows in waivers.items()}


def show_waivers(rows: Iterable[VersionWaiverRow | WaiverRow]) -> list[Waiver]:
    """Describe waivers from their rows."""
    return [_show(row) for row in rows]


def find_verdict(conn: sa.Connection, caller: Caller, verdict_id: str) -> VerdictRow:
    """Find a verdict.

    Raises:
        NotFound: The caller sees no verdict with that id.
    """
    row = verdict_queries.verdict_row(conn, verdict_id)
    if row is None or not caller.sees(line_of(row)):
        raise NotFound(f"there is no verdict {verdict_id[:40]}", fix="deltareg verdict ls")
    return row


def _tell(row: WaiverRow) -> str:
    where = f" for {row.channel}" if row.channel else ""
    return f"until {rfc3339_seconds(row.expires_at)}{where} by {row.actor}: {row.reason}"


def _show(row: VersionWaiverRow | WaiverRow) -> Waiver:
    return Waiver(
        id=row.id,
        check=row.check_name,
        reason=row.reason,
        created_at=rfc3339(row.created_at),
        created_by=row.actor,
        expires_at=rfc3339(row.expires_at),
        stands=bool(row.stands),
        revoked_at=rfc3339_or_none(row.revoked_at),
        revoked_by=row.ender,
        channel=row.channel or "",
        carried_from=row.origin_id or "",
    )
