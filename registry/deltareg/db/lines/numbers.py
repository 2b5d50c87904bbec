"""The numbers of a line's versions that are not deleted; of a long line no more are read than are asked for."""

from collections.abc import Iterable

import sqlalchemy as sa

from deltareg.db.lines.deltas import count_versions
from deltareg.db.tables import line_counts, versions


def live_numbers(conn: sa.Connection, delta_id: int, first: int, last: int) -> list[int]:
    """List the numbers from one to another of the versions of a line that are not deleted, in order."""
    query = _select_numbers(delta_id).where(versions.c.number.between(first, last)).order_by(versions.c.number)
    return list(conn.execute(query).scalars())


def newest_numbers(conn: sa.Connection, delta_id: int, *, limit: int) -> list[int]:
    """List the numbers of the newest versions of a line that are not deleted, in order."""
    query = _select_numbers(delta_id).order_by(versions.c.number.desc()).limit(limit)
    return list(conn.execute(query).scalars())[::-1]


def count_live(conn: sa.Connection, delta_id: int, *, beside: Iterable[int]) -> int:
    """Count the versions of a line that are not deleted, but for those of some numbers."""
    others = _select_numbers(delta_id).where(versions.c.number.in_(list(beside))).subquery()
    without = sa.select(sa.func.count()).select_from(others).scalar_subquery()
    return int(conn.execute(sa.select(count_versions(line_counts.c.delta_id == delta_id) - without)).scalar_one())


def _select_numbers(delta_id: int) -> sa.Select[int]:
    return sa.select(versions.c.number).where(versions.c.delta_id == delta_id, versions.c.deleted_at.is_(None))
