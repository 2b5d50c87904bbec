"""Automatic runs, which a push queued, and their end when a newer version of the line comes.

A run is *automatic* while its request says so. Whoever asks for the same run joins it and makes it
theirs, so that no push cancels it. A run that a worker holds continues; a row that is being claimed
is locked and skipped.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from deltareg.db.runs.rows import ResultRow, SupersededRow
from deltareg.db.sql.among import among, write_ids
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.tables import channels, requests, revisions, runs, versions
from deltareg.db.tables.requests import OPEN
from deltareg.db.tables.runs import ACTIVE

AUTOMATIC: Final = "automatic"
"""Of a run's request: what queued it without being asked, `push`."""
BY: Final = "superseded_by"
"""Of the result of a superseded run: the version whose run took its place, as `ns/name:vN`."""


def supersede(conn: sa.Connection, version_id: int, *, what: str, suite: str, by: str) -> Sequence[SupersededRow]:
    """Cancel the automatic runs that wait for older versions of the same line; return them.

    Runs that somebody asked for stay, and so do those of a version that a channel serves or that an
    open request wants on one.

    Args:
        conn: A transaction that holds the lock of the line.
        version_id: The newer version.
        what: The kind of run.
        suite: Its suite.
        by: The newer version, as it is shown.
    """
    newer = sa.select(versions.c.delta_id, versions.c.number).where(versions.c.id == version_id)
    own = newer.subquery()
    waiting = (
        sa.select(runs.c.id)
        .join(versions, versions.c.id == runs.c.version_id)
        .join(own, own.c.delta_id == versions.c.delta_id)
        .where(
            ACTIVE,
            runs.c.state == "queued",
            runs.c.what == what,
            runs.c.suite == suite,
            runs.c.request[AUTOMATIC].as_string().is_not(None),
            versions.c.number < own.c.number,
            ~sa.exists().where(requests.c.version_id == versions.c.id, OPEN),
            ~_is_served(versions.c.id),
        )
        .with_for_update(of=runs, skip_locked=True)
    )
    update = (
        sa.update(runs)
        .where(runs.c.id.in_(waiting), runs.c.state == "queued")
        .values(state="cancelled", finished_at=now_us(), result={BY: by}, error=f"superseded by {by}")
        .returning(runs.c.id, runs.c.version_id, runs.c.started_at)
    )
    return fetch_all(conn, update, SupersededRow)


def make_asked_for(conn: sa.Connection, run_id: str, request: Mapping[str, str]) -> bool:
    """Record that somebody asks for an active run; return False if it has ended meanwhile."""
    fields = {name: value for name, value in request.items() if name != AUTOMATIC}
    update = sa.update(runs).where(runs.c.id == run_id, ACTIVE).values(request=fields)
    return conn.execute(update).rowcount == 1


def superseding_versions(conn: sa.Connection, version_ids: Collection[int], *, suite: str) -> dict[int, str]:
    """Return the version that superseded each version's last run of a suite, if one did."""
    if not version_ids:
        return {}
    rows = _RESULTS.all(conn, versions=write_ids(version_ids), suite=suite)
    last = {row.version_id: row.result for row in rows}
    return {version_id: str(result[BY]) for version_id, result in last.items() if result is not None and BY in result}


def _is_served(version_id: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    newest = sa.and_(revisions.c.channel_id == channels.c.id, revisions.c.number == channels.c.revision)
    return sa.exists().where(newest, revisions.c.version_id == version_id)


_RESULTS: Final = PreparedQuery(
    sa.select(runs.c.version_id, runs.c.result)
    .where(among(runs.c.version_id, sa.bindparam("versions", type_=sa.Text)), runs.c.suite == sa.bindparam("suite"))
    .order_by(runs.c.created_at, runs.c.id),
    ResultRow,
)
