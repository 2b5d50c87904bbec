"""Checks of stored pieces: proving runs whose requests name the check that they belong to."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.sql.fetch import fetch_all, fetch_known
from deltareg.db.storage.proof_rows import CheckMarkRow, CheckStateRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.tables import bases, runs, versions
from deltareg.db.tables.runs import ACTIVE

CHECK, SHARE = "check", "share"


def how_far(conn: sa.Connection, check_id: str) -> CheckMarkRow:
    """Return how far a check has queued runs, and of which share; all zero if it has none."""
    query = sa.select(
        sa.func.coalesce(sa.func.max(runs.c.version_id), 0).label("version_id"),
        sa.func.coalesce(sa.func.max(runs.c.base_id), 0).label("base_id"),
        sa.func.coalesce(sa.func.max(runs.c.request[SHARE].as_string()), "").label("share"),
    ).where(_is_of(check_id))
    return fetch_known(conn, query, CheckMarkRow)


def states_of(conn: sa.Connection, check_id: str) -> Sequence[CheckStateRow]:
    """Count the runs of a check by state and outcome."""
    proof = runs.c.result["proof"].as_string()
    query = (
        sa.select(runs.c.state, proof.label("proof"), sa.func.count().label("runs"))
        .where(_is_of(check_id))
        .group_by(runs.c.state, proof)
    )
    return fetch_all(conn, query, CheckStateRow)


def waiting_proofs(conn: sa.Connection) -> int:
    """Count the proofs that are queued or running."""
    query = sa.select(sa.func.count()).where(runs.c.what == "prove", ACTIVE)
    return conn.execute(query).scalar_one()


def stored_after(conn: sa.Connection, mark: CheckMarkRow, *, limit: int) -> list[PackHolder]:
    """List the holders with stored bytes after a mark: bases first, then versions not deleted."""
    of_bases = sa.select(bases.c.id).where(bases.c.storage_map.is_not(None), bases.c.id > mark.base_id)
    holders = [
        PackHolder(row, is_base=True) for row in conn.execute(of_bases.order_by(bases.c.id).limit(limit)).scalars()
    ]
    of_versions = sa.select(versions.c.id).where(versions.c.deleted_at.is_(None), versions.c.id > mark.version_id)
    version_ids = of_versions.order_by(versions.c.id).limit(limit - len(holders))
    return holders + [PackHolder(row) for row in conn.execute(version_ids).scalars()]


def _is_of(check_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(runs.c.what == "prove", runs.c.request[CHECK].as_string() == check_id)
