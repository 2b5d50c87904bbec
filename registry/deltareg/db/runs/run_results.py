"""The questions and results of runs, if they are more than the rows of runs hold."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.runs.rows import RunAgeRow, RunResultRow, ShownRunRow
from deltareg.db.runs.runs import select_runs
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import principals, run_results, runs, versions


def keep_asked(
    conn: sa.Connection, run_id: str, *, asked: bytes, other_id: int | None = None, for_us: int | None = None
) -> None:
    """Store the question of a run; a run that was joined keeps its own.

    Args:
        conn: The transaction that queues it.
        run_id: The run.
        asked: The question.
        other_id: A second version that it is about.
        for_us: How long the question and result are kept; None for as long as the versions exist.
    """
    values: dict[str, object] = {"run_id": run_id, "other_id": other_id, "asked": asked}
    if for_us is not None:
        values["ends_at"] = now_us() + for_us
    conn.execute(insert(conn, run_results).values(values).on_conflict_do_nothing())


def keep_found(conn: sa.Connection, run_id: str, found: bytes) -> bool:
    """Store the result of a run; return False if its question has been deleted."""
    update = sa.update(run_results).where(run_results.c.run_id == run_id).values(found=found)
    return conn.execute(update).rowcount == 1


def result_row(conn: sa.Connection, run_id: str) -> RunResultRow | None:
    """Find the question and the result of a run, unless they have expired."""
    query = sa.select(run_results).where(
        run_results.c.run_id == run_id, sa.or_(run_results.c.ends_at.is_(None), run_results.c.ends_at > now_us())
    )
    return fetch_one(conn, query, RunResultRow)


def newest_run(conn: sa.Connection, dedup_key: str, *, version_id: int, is_found: bool = False) -> ShownRunRow | None:
    """Find the newest run of a version with a key, with `is_found` the newest that has a result."""
    query = select_runs().where(runs.c.version_id == version_id, runs.c.dedup_key == dedup_key)
    if is_found:
        query = query.join(run_results, run_results.c.run_id == runs.c.id)
        query = query.where(run_results.c.found.is_not(None))
    newest = query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(1)
    return fetch_one(conn, newest, ShownRunRow)


def asked_since(
    conn: sa.Connection, principal_id: int, *, what: str, within_us: int, beside: str
) -> Sequence[RunAgeRow]:
    """List a principal's recent runs of a kind, oldest first, except the run `beside`.

    The principal is locked until this transaction ends, so that two requests at once cannot both
    use what is left of a limit.
    """
    own = sa.select(principals.c.id).where(principals.c.id == principal_id)
    conn.execute(own.with_for_update())
    query = sa.select(runs.c.created_at, runs.c.state).where(
        runs.c.created_at > now_us() - within_us,
        runs.c.what == what,
        runs.c.id != beside,
        runs.c.created_by == principal_id,
    )
    return fetch_all(conn, query.order_by(runs.c.created_at), RunAgeRow)


def has_ended(conn: sa.Connection) -> bool:
    """Whether there is an expired question or result."""
    return conn.execute(_select_ended(limit=1)).first() is not None


def drop_ended(conn: sa.Connection, *, limit: int) -> int:
    """Delete expired results and those about a deleted version; return how many."""
    names = list(conn.execute(_select_ended(limit=limit)).scalars())
    if names:
        conn.execute(sa.delete(run_results).where(run_results.c.run_id.in_(names)))
    return len(names)


def _select_ended(*, limit: int) -> sa.Select[tuple[str]]:
    is_of_deleted = sa.exists().where(
        versions.c.deleted_at.is_not(None),
        sa.or_(versions.c.id == run_results.c.other_id, versions.c.id == runs.c.version_id),
    )
    return (
        sa.select(run_results.c.run_id)
        .join(runs, runs.c.id == run_results.c.run_id)
        .where(sa.or_(run_results.c.ends_at <= now_us(), is_of_deleted))
        .limit(limit)
    )
