"""The outcome of a version over all suites that were run on it, and the newest version by outcome of a line.

A version has failed if the newest verdict of any suite is a failure. It has passed if none is, and
the newest of some suite is a pass.
"""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import batches
from deltareg.db.tables import verdicts, versions
from deltareg.db.verdicts.outcomes import of_own_base
from deltareg.db.verdicts.rows import NewestByOutcomeRow, VersionOutcomeRow
from deltareg.db.verdicts.signing import is_for_all, shown_outcome


def version_outcomes(conn: sa.Connection, version_ids: Iterable[int]) -> dict[int, VersionOutcomeRow]:
    """Return how versions did, by row id; a version without a verdict is not in it."""
    rows: dict[int, VersionOutcomeRow] = {}
    for part in batches(sorted(set(version_ids))):
        outcomes = _outcomes(versions.c.id.in_(part))
        query = sa.select(outcomes.c.version_id, outcomes.c.fails, outcomes.c.passes)
        rows |= {row.version_id: row for row in fetch_all(conn, query, VersionOutcomeRow)}
    return rows


def newest_by_outcome(
    conn: sa.Connection, delta_ids: Iterable[int], *, pushed_by: int
) -> dict[int, NewestByOutcomeRow]:
    """Return the newest versions of lines that passed, and that a principal pushed and have not failed.

    Deleted and revoked versions are left out. The row ids are None where there is no such version.
    """
    rows: dict[int, NewestByOutcomeRow] = {}
    for part in batches(sorted(set(delta_ids))):
        outcomes = _outcomes(versions.c.delta_id.in_(part))
        has_not_failed = sa.func.coalesce(outcomes.c.fails, 0) == 0
        has_passed = sa.and_(has_not_failed, outcomes.c.passes > 0)
        is_own = sa.and_(has_not_failed, versions.c.created_by == pushed_by)
        query = (
            sa.select(
                versions.c.delta_id,
                sa.func.max(sa.case((has_passed, versions.c.id))).label("passed"),
                sa.func.max(sa.case((is_own, versions.c.id))).label("own"),
            )
            .select_from(versions)
            .outerjoin(outcomes, outcomes.c.version_id == versions.c.id)
            .where(versions.c.delta_id.in_(part), versions.c.deleted_at.is_(None), versions.c.revoked_at.is_(None))
            .group_by(versions.c.delta_id)
        )
        rows |= {row.delta_id: row for row in fetch_all(conn, query, NewestByOutcomeRow)}
    return rows


def _outcomes(of: sa.ColumnElement[bool]) -> sa.Subquery:
    """Select, for versions with a verdict, how many suites they fail and pass by the newest verdict of each."""
    newest_first = sa.func.row_number().over(
        partition_by=(verdicts.c.version_id, verdicts.c.suite),
        order_by=(verdicts.c.created_at.desc(), verdicts.c.id.desc()),
    )
    each = (
        sa.select(verdicts.c.version_id, shown_outcome().label("outcome"), newest_first.label("place"))
        .select_from(verdicts)
        .join(versions, of_own_base())
        .where(is_for_all(), of)
        .subquery()
    )
    return (
        sa.select(each.c.version_id, _count(each, "fail").label("fails"), _count(each, "pass").label("passes"))
        .where(each.c.place == 1)
        .group_by(each.c.version_id)
        .subquery()
    )


def _count(each: sa.Subquery, outcome: str) -> sa.ColumnElement[Any]:
    return sa.func.sum(sa.case((each.c.outcome == outcome, 1), else_=0))
