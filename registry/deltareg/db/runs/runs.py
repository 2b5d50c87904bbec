"""The queue: runs are inserted once per key, claimed by one worker at a time, finished once.

Every write of a worker names the fence of its claim. A run that was taken over has a higher fence,
so a write of the old holder matches no row.

Among runs of one priority, namespaces take turns: a new run is placed one turn behind the last one
of its namespace, and behind the last one that was served, whichever is later (start-time fair
queueing, Goyal, Vin and Cheng 1996, with every run of cost one). So a claim reads the head of an
index, and somebody who queues a thousand runs at once does not delay another's single run.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.runs.rows import ClaimableRow, PlaceRow, RunRow, ShownRunRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_known, fetch_one
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.tables import bases, deltas, namespaces, principals, runs, versions, workers
from deltareg.db.tables.runs import ACTIVE
from deltareg.errors import Unavailable

_ATTEMPTS = 10
_TRIES = 3
EXPIRED = sa.and_(runs.c.state == "running", runs.c.lease_expires_at < now_us())
_CLAIMABLE = sa.and_(
    ACTIVE,  # implied by what follows; it lets the planner use the partial index
    sa.or_(runs.c.state == "queued", sa.and_(EXPIRED, runs.c.attempt < runs.c.max_attempts)),
)
ORDER = (runs.c.priority.desc(), runs.c.turn, runs.c.created_at, runs.c.id)
_EXHAUSTED = sa.and_(ACTIVE, EXPIRED, runs.c.attempt >= runs.c.max_attempts)


@dataclass(frozen=True, slots=True)
class RunClaim:
    """The claim that a worker must present to write to a run.

    Attributes:
        run_id: The run.
        fence: The fence of the worker's claim.
        principal_id: The principal of the worker's token; a fence alone is easily guessed.
    """

    run_id: str
    fence: int
    principal_id: int


@cache
def select_runs() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for runs as shown, with the names of the version, the base and the maker."""
    return (
        sa.select(
            runs,
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            versions.c.number,
            principals.c.name.label("maker"),
            bases.c.name.label("base_name"),
        )
        .outerjoin(versions, versions.c.id == runs.c.version_id)
        .outerjoin(deltas, deltas.c.id == versions.c.delta_id)
        .outerjoin(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .outerjoin(principals, principals.c.id == runs.c.created_by)
        .outerjoin(bases, bases.c.id == runs.c.base_id)
    )


def enqueue(
    conn: sa.Connection,
    *,
    run_id: str,
    what: str,
    dedup_key: str,
    version_id: int | None,
    request: Mapping[str, object],
    base_id: int | None = None,
    suite: str = "",
    labels: Mapping[str, str] | None = None,
    priority: int = 0,
    max_attempts: int = _TRIES,
    created_by: int | None = None,
) -> str:
    """Queue a run, or join the active one with the same key; return the id of either.

    A waiting run that is joined takes the higher of the two priorities.
    """
    place = _place(conn, version_id, priority)
    added = (
        insert(conn, runs)
        .values(
            id=run_id,
            what=what,
            dedup_key=dedup_key,
            version_id=version_id,
            suite=suite,
            request=dict(request),
            labels=dict(labels or {}),
            priority=priority,
            max_attempts=max_attempts,
            created_by=created_by,
            namespace_id=place.namespace_id,
            turn=place.turn,
            base_id=base_id,
        )
        .on_conflict_do_nothing(index_elements=["dedup_key"], index_where=ACTIVE)
        .returning(runs.c.id)
    )
    for _ in range(_ATTEMPTS):
        if conn.execute(added).scalar() is not None:
            return run_id
        active_id = join(conn, dedup_key, version_id=version_id, priority=priority)
        if active_id is not None:  # else it ended between the two statements
            return active_id
    raise Unavailable(f"runs of {dedup_key} come and go", fix="try again")


def join(conn: sa.Connection, dedup_key: str, *, version_id: int | None, priority: int) -> str | None:
    """Join the active run with a key, as `enqueue` does; return its id, None if there is none."""
    under_way = sa.select(runs.c.id).where(runs.c.dedup_key == dedup_key, ACTIVE)
    run_id = conn.execute(under_way).scalar()
    if run_id is None:
        return None
    _raise_priority(conn, str(run_id), version_id, priority)
    return str(run_id)


def was_done(conn: sa.Connection, dedup_key: str) -> bool:
    """Whether a run with a key has ended well."""
    done = sa.select(runs.c.id).where(runs.c.dedup_key == dedup_key, runs.c.state == "done")
    return conn.execute(done.limit(1)).first() is not None


def _place(conn: sa.Connection, version_id: int | None, priority: int) -> PlaceRow:
    """Return the `namespace_id` and `turn` of a run that is queued now, in one query."""
    namespace_id = (
        sa.select(deltas.c.namespace_id)
        .join(versions, versions.c.delta_id == deltas.c.id)
        .where(versions.c.id == version_id)
        .scalar_subquery()
    )
    newest = sa.select(sa.func.max(runs.c.turn)).where(runs.c.priority == priority)
    own = newest.where(runs.c.namespace_id == namespace_id, ACTIVE).scalar_subquery()
    last_served = newest.where(runs.c.started_at.is_not(None)).scalar_subquery()
    own_turn, served_turn = sa.func.coalesce(own, 0), sa.func.coalesce(last_served, 0)
    turn = 1 + sa.case((own_turn > served_turn, own_turn), else_=served_turn)
    return fetch_known(conn, sa.select(namespace_id.label("namespace_id"), turn.label("turn")), PlaceRow)


def _raise_priority(conn: sa.Connection, run_id: str, version_id: int | None, priority: int) -> None:
    lower = sa.and_(runs.c.id == run_id, runs.c.state == "queued", runs.c.priority < priority)
    if conn.execute(sa.select(runs.c.id).where(lower)).first() is not None:
        turn = _place(conn, version_id, priority).turn
        conn.execute(sa.update(runs).where(lower).values(priority=priority, turn=turn))


def run_row(conn: sa.Connection, run_id: str) -> ShownRunRow | None:
    """Find a run."""
    return fetch_one(conn, select_runs().where(runs.c.id == run_id), ShownRunRow)


def run_rows(
    conn: sa.Connection,
    *,
    state: str | None = None,
    what: str | None = None,
    version_id: int | None = None,
    sight: VisibleLines | None = None,
    before: tuple[int, str] | None = None,
    limit: int = 50,
) -> Sequence[ShownRunRow]:
    """List runs, newest first; `before` is (created_at, id) of the last one seen."""
    query = in_sight(select_runs(), sight).limit(limit)
    query = query.order_by(runs.c.created_at.desc(), runs.c.id.desc())
    filters = (runs.c.state, state), (runs.c.what, what), (runs.c.version_id, version_id)
    query = query.where(*(column == value for column, value in filters if value is not None))
    if state in {"queued", "running"}:
        query = query.where(ACTIVE)
    if before is not None:
        query = query.where(sa.tuple_(runs.c.created_at, runs.c.id) < before)
    return fetch_all(conn, query, ShownRunRow)


def keys_queued(conn: sa.Connection, keys: Mapping[str, int]) -> set[str]:
    """Return which keys, each of a version, ever had a run queued, whatever its state."""
    queued: set[str] = set()
    for part in batches(list(keys.items())):
        query = sa.select(runs.c.dedup_key).where(
            runs.c.version_id.in_({version_id for _, version_id in part}),
            runs.c.dedup_key.in_([key for key, _ in part]),
        )
        queued |= set(conn.execute(query).scalars())
    return queued


def renew_attempts(conn: sa.Connection, run_id: str) -> None:
    """Give an active run as many further attempts as a new run has."""
    conn.execute(sa.update(runs).where(runs.c.id == run_id, ACTIVE).values(max_attempts=runs.c.attempt + _TRIES))


def claimable(
    conn: sa.Connection,
    *,
    what: Sequence[str],
    not_proving: Collection[int] = (),
    not_judging: Collection[int] = (),
    only: str = "",
    after: ClaimableRow | None = None,
    limit: int = 50,
) -> Sequence[ClaimableRow]:
    """List runs that may be claimed: by priority, then by turn, then the oldest first.

    Those are queued runs, and runs whose lease has expired with attempts left. No row is locked.

    Args:
        conn: A transaction.
        what: The kinds of run that the worker does.
        not_proving: The principals whose claims are left out, as nobody proves what they sent themselves.
        not_judging: The principals of whose bytes no verification is listed.
        only: The one run that the worker is for, if it is for one.
        after: The last one of the page before.
        limit: How many at most.
    """
    query = (
        sa.select(*(runs.c[one.name] for one in fields(ClaimableRow)))
        .where(_CLAIMABLE, runs.c.what.in_(what))
        .order_by(*ORDER)
        .limit(limit)
    )
    if only:
        query = query.where(runs.c.id == only)
    if "prove" in what and not_proving:
        # What a form needs beside is in the run's request (`service.runs.eligible`).
        is_of_form = runs.c.request["form"].as_string().is_not(None)
        query = query.where(sa.or_(runs.c.what != "prove", is_of_form, ~_is_of(not_proving)))
    if "verify" in what and not_judging:
        query = query.where(sa.or_(runs.c.what != "verify", ~_is_of(not_judging)))
    if after is not None:
        later = sa.tuple_(runs.c.turn, runs.c.created_at, runs.c.id) > (after.turn, after.created_at, after.id)
        query = query.where(sa.or_(runs.c.priority < after.priority, sa.and_(runs.c.priority == after.priority, later)))
    return fetch_all(conn, query, ClaimableRow)


def claim(conn: sa.Connection, run_id: str, *, holder: str, lease_us: int) -> RunRow | None:
    """Lease a run to a worker; None if another worker holds it or is claiming it."""
    mine = (
        sa.select(runs.c.id).where(runs.c.id == run_id, _CLAIMABLE).with_for_update(skip_locked=True).scalar_subquery()
    )
    update = (
        sa.update(runs)
        .where(runs.c.id == mine)
        .values(
            state="running",
            lease_holder=holder,
            lease_expires_at=now_us() + lease_us,
            attempt=runs.c.attempt + 1,
            fence=runs.c.fence + 1,
            error=None,
            started_at=sa.func.coalesce(runs.c.started_at, now_us()),
        )
        .returning(runs)
    )
    return fetch_one(conn, update, RunRow)


def extend(conn: sa.Connection, hold: RunClaim, *, lease_us: int) -> bool:
    """Extend a lease; return False if the worker does not hold it any more."""
    update = sa.update(runs).where(_is_held(hold)).values(lease_expires_at=now_us() + lease_us)
    return conn.execute(update).rowcount == 1


def held_run(conn: sa.Connection, hold: RunClaim, *, lock: bool = False) -> RunRow | None:
    """Return a run to its holder; None if the worker does not hold it (any more)."""
    query = sa.select(runs).where(_is_held(hold))
    return fetch_one(conn, query.with_for_update() if lock else query, RunRow)


def finish(
    conn: sa.Connection, hold: RunClaim, *, state: str, error: str | None = None, result: object = None
) -> RunRow | None:
    """End a run as its holder, `done` or `dead`; None if another worker holds the lease."""
    update = (
        sa.update(runs)
        .where(_is_held(hold))
        .values(state=state, error=error, result=result, finished_at=now_us())
        .returning(runs)
    )
    return fetch_one(conn, update, RunRow)


def give_back(conn: sa.Connection, hold: RunClaim, *, error: str) -> RunRow | None:
    """Requeue a run as its holder; None if no attempts are left or the worker does not hold it."""
    update = (
        sa.update(runs)
        .where(_is_held(hold), runs.c.attempt < runs.c.max_attempts)
        .values(state="queued", lease_holder=None, lease_expires_at=None, error=error)
        .returning(runs)
    )
    return fetch_one(conn, update, RunRow)


def exhausted_runs(conn: sa.Connection, *, limit: int = 50) -> list[str]:
    """List runs whose last attempt expired without a report. No row is locked."""
    return list(conn.execute(sa.select(runs.c.id).where(_EXHAUSTED).limit(limit)).scalars())


def bury(conn: sa.Connection, run_id: str, *, error: str) -> RunRow | None:
    """End a run whose attempts are used up; None if its holder came back meanwhile."""
    mine = (
        sa.select(runs.c.id).where(runs.c.id == run_id, _EXHAUSTED).with_for_update(skip_locked=True).scalar_subquery()
    )
    update = (
        sa.update(runs).where(runs.c.id == mine).values(state="dead", error=error, finished_at=now_us()).returning(runs)
    )
    return fetch_one(conn, update, RunRow)


def cancel(conn: sa.Connection, run_id: str, *, error: str) -> str | None:
    """Cancel an active run and return the state that it was in; None if it was not active."""
    locked = sa.select(runs.c.state).where(runs.c.id == run_id, ACTIVE).with_for_update()
    state = conn.execute(locked).scalar()
    if state is not None:
        conn.execute(
            sa.update(runs).where(runs.c.id == run_id).values(state="cancelled", error=error, finished_at=now_us())
        )
    return state


def end_queued(conn: sa.Connection, dedup_key: str, *, result: object) -> None:
    """End a waiting run as done, because its result is known already."""
    conn.execute(
        sa.update(runs)
        .where(ACTIVE, runs.c.dedup_key == dedup_key, runs.c.state == "queued")
        .values(state="done", result=result, finished_at=now_us())
    )


def active_of_version(conn: sa.Connection, version_id: int, *, what: Sequence[str]) -> list[str]:
    """List the active runs of some kinds for a version."""
    query = sa.select(runs.c.id).where(ACTIVE, runs.c.version_id == version_id, runs.c.what.in_(what))
    return list(conn.execute(query).scalars())


def _is_of(principal_ids: Collection[int]) -> sa.ColumnElement[bool]:
    """Whether one of some principals sent the bytes that a run is about."""
    return sa.or_(
        *(
            sa.exists().where(
                table.c.id == column, sa.func.coalesce(table.c.stored_by, table.c.created_by).in_(principal_ids)
            )
            for table, column in ((versions, runs.c.version_id), (bases, runs.c.base_id))
        )
    )


def _is_held(hold: RunClaim) -> sa.ColumnElement[bool]:
    own = sa.select(workers.c.name).where(workers.c.principal_id == hold.principal_id)
    return sa.and_(
        runs.c.id == hold.run_id, runs.c.fence == hold.fence, runs.c.state == "running", runs.c.lease_holder.in_(own)
    )
