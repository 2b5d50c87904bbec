"""The queue: runs are inserted once per key, claimed by one worker at a time, finished once.

Every write of a worker names the fence of its claim. A run that was taken over has a higher fence,
so a write of the old holder matches no row.

Whose turn it is, `db.runs.turns` says.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.access.in_sight import in_sight
from deltareg.db.access.sight import VisibleLines
from deltareg.db.runs import turns
from deltareg.db.runs.rows import ActiveRunRow, ClaimableRow, RunRow, ShownRunRow
from deltareg.db.runs.turns import CLAIMABLE, EXPIRED
from deltareg.db.session import read
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.page_size import rows_at_most
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.tables import bases, deltas, namespaces, principals, runs, versions, workers
from deltareg.db.tables.runs import ACTIVE, IS_OF_RARE_KIND, IS_OF_RARE_STATE, RARE_KINDS, RARE_STATES
from deltareg.errors import Unavailable
from deltareg.host.time_spent import SPENT

REQUEST_ID, TRACEPARENT = "request_id", "traceparent"
"""Where a run's request says who asked, for logs and traces."""
_ATTEMPTS = 10
_TRIES = 3
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
    namespace_id = turns.namespace_of(conn, version_id=version_id, base_id=base_id)
    place = turns.place(conn, (priority, namespace_id), created_by=created_by)
    added = (
        insert(conn, runs)
        .values(
            id=run_id,
            what=what,
            dedup_key=dedup_key,
            version_id=version_id,
            suite=suite,
            request=_asked_by() | dict(request),
            labels=dict(labels or {}),
            priority=priority,
            max_attempts=max_attempts,
            created_by=created_by,
            namespace_id=namespace_id,
            turn=place.turn,
            turn_inside=place.turn_inside,
            base_id=base_id,
        )
        .on_conflict_do_nothing(index_elements=["dedup_key"], index_where=ACTIVE)
        .returning(runs.c.id)
    )
    for _ in range(_ATTEMPTS):
        if conn.execute(added).scalar() is not None:
            return run_id
        active_id = join(conn, dedup_key, priority=priority)
        if active_id is not None:  # else it ended between the two statements
            return active_id
    raise Unavailable(f"runs of {dedup_key} come and go", fix="try again")


def _asked_by() -> dict[str, object]:
    """Return the request that asks, and its trace: a run goes on with them, and one queued for it again as well."""
    spent = SPENT.get()
    if spent is None:
        return {}
    asked = {REQUEST_ID: spent.request_id, TRACEPARENT: spent.traceparent}
    return {name: value for name, value in asked.items() if value}


def join(conn: sa.Connection, dedup_key: str, *, priority: int) -> str | None:
    """Join the active run with a key, as `enqueue` does; return its id, None if there is none."""
    active = _ACTIVE_OF_KEY.one(conn, dedup_key=dedup_key)
    if active is None:
        return None
    if active.state == "queued" and active.priority < priority:
        _raise_priority(conn, active, priority)
    return active.id


def was_done(conn: sa.Connection, dedup_key: str) -> bool:
    """Whether a run with a key has ended well."""
    done = sa.select(runs.c.id).where(runs.c.dedup_key == dedup_key, runs.c.state == "done")
    return conn.execute(done.limit(1)).first() is not None


def _raise_priority(conn: sa.Connection, run: ActiveRunRow, priority: int) -> None:
    place = turns.place(conn, (priority, run.namespace_id), created_by=run.created_by)
    raised = sa.update(runs).where(runs.c.id == run.id, runs.c.state == "queued", runs.c.priority < priority)
    conn.execute(raised.values(priority=priority, turn=place.turn, turn_inside=place.turn_inside))


def run_row(conn: sa.Connection, run_id: str) -> ShownRunRow | None:
    """Find a run."""
    return _BY_ID.one(conn, run_id=run_id)


def newest_ended(conn: sa.Connection, version_id: int, *, what: str, suite: str) -> ShownRunRow | None:
    """Find the newest run of a version and a suite that ended and was not cancelled."""
    query = select_runs().where(
        runs.c.version_id == version_id, runs.c.what == what, runs.c.suite == suite, runs.c.state.in_(("done", "dead"))
    )
    return fetch_one(conn, query.order_by(runs.c.finished_at.desc(), runs.c.id.desc()).limit(1), ShownRunRow)


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
    newest_first = runs.c.created_at.desc(), runs.c.id.desc()
    query = in_sight(select_runs(), sight).order_by(*newest_first).limit(rows_at_most(limit))
    filters = (runs.c.state, state), (runs.c.what, what), (runs.c.version_id, version_id)
    query = query.where(*(column == value for column, value in filters if value is not None))
    if state in RARE_STATES:  # implied, as is what follows; it lets the planner use a partial index
        query = query.where(IS_OF_RARE_STATE)
    if what in RARE_KINDS:
        query = query.where(IS_OF_RARE_KIND)
    if before is not None:
        query = query.where(sa.tuple_(runs.c.created_at, runs.c.id) < before)
    # First which: the planner expects fewer in a rare state than there are, and would sort what it shows of all.
    page = query.with_only_columns(runs.c.id, maintain_column_froms=True)
    return fetch_all(conn, select_runs().where(runs.c.id.in_(page)).order_by(*newest_first), ShownRunRow)


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


def change_suite(conn: sa.Connection, run_id: str, request: Mapping[str, str]) -> None:
    """Give a waiting run another request."""
    conn.execute(sa.update(runs).where(runs.c.id == run_id, CLAIMABLE).values(request=dict(request)))


def claimable(
    engine: sa.Engine,
    *,
    what: Sequence[str],
    not_proving: Collection[int] = (),
    not_judging: Collection[int] = (),
    only: str = "",
    unlike: Collection[str] = (),
) -> Iterator[ClaimableRow]:
    """Yield runs that may be claimed, the next one first, read a page at a time.

    Those are queued runs, and runs whose lease has expired with attempts left. No row is locked.

    Args:
        engine: The database.
        what: The kinds of run that the worker does.
        not_proving: The principals whose claims are left out, as nobody proves what they sent themselves.
        not_judging: The principals of whose bytes no verification is listed.
        only: The one run that the worker is for, if it is for one.
        unlike: Labels, as JSON text, whose runs are left out.
    """
    conditions: list[sa.ColumnElement[bool]] = [runs.c.what.in_(what)]
    if only:
        conditions.append(runs.c.id == only)
    if unlike:
        conditions.append(sa.cast(runs.c.labels, sa.Text).not_in(unlike))
    if "prove" in what and not_proving:
        # What a form needs beside is in the run's request (`service.runs.eligible`).
        is_of_form = runs.c.request["form"].as_string().is_not(None)
        conditions.append(sa.or_(runs.c.what != "prove", is_of_form, ~_is_of(not_proving)))
    if "verify" in what and not_judging:
        conditions.append(sa.or_(runs.c.what != "verify", ~_is_of(not_judging)))
    return turns.in_turn(partial(read, engine), *conditions)


def claim(conn: sa.Connection, run_id: str, *, holder: str, lease_us: int) -> RunRow | None:
    """Lease a run to a worker; None if another worker holds it or is claiming it."""
    if turns.take_turn(conn, run_id) is None:
        return None
    update = (
        sa.update(runs)
        .where(runs.c.id == run_id)
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


def give_back_untried(conn: sa.Connection, hold: RunClaim, *, error: str) -> RunRow | None:
    """Requeue a run at its place, as its holder that did not know what it needs; it is no attempt."""
    waits = {"state": "queued", "lease_holder": None, "lease_expires_at": None, "attempt": runs.c.attempt - 1}
    return fetch_one(conn, sa.update(runs).where(_is_held(hold)).values(error=error, **waits).returning(runs), RunRow)


def give_back(conn: sa.Connection, hold: RunClaim, *, error: str) -> RunRow | None:
    """Requeue a run as its holder; None if no attempts are left or the worker does not hold it.

    It has had its turn, and stands where a new run of who queued it would.
    """
    run = held_run(conn, hold, lock=True)
    if run is None or run.attempt >= run.max_attempts:
        return None
    place = turns.place(conn, (run.priority, run.namespace_id), created_by=run.created_by)
    waits = {"state": "queued", "lease_holder": None, "lease_expires_at": None}
    update = sa.update(runs).where(runs.c.id == run.id).returning(runs)
    return fetch_one(conn, update.values(error=error, turn=place.turn, turn_inside=place.turn_inside, **waits), RunRow)


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


def end_unbegun(conn: sa.Connection, run_id: str, *, error: str, result: object) -> RunRow | None:
    """End a run that waits, as dead; None if a worker has taken it meanwhile."""
    mine = sa.select(runs.c.id).where(runs.c.id == run_id, CLAIMABLE).with_for_update(skip_locked=True)
    update = (
        sa.update(runs)
        .where(runs.c.id == mine.scalar_subquery())
        .values(state="dead", error=error, result=result, finished_at=now_us())
        .returning(runs)
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


def was_held(hold: RunClaim) -> sa.ColumnElement[bool]:
    """Whether a claim is the last one of its run."""
    own = sa.select(workers.c.name).where(workers.c.principal_id == hold.principal_id)
    return sa.and_(runs.c.id == hold.run_id, runs.c.fence == hold.fence, runs.c.lease_holder.in_(own))


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
    return sa.and_(was_held(hold), runs.c.state == "running")


_BY_ID: Final = PreparedQuery(select_runs().where(runs.c.id == sa.bindparam("run_id")), ShownRunRow)
_ACTIVE_OF_KEY: Final = PreparedQuery(
    sa.select(runs.c.id, runs.c.state, runs.c.priority, runs.c.namespace_id, runs.c.created_by).where(
        runs.c.dedup_key == sa.bindparam("dedup_key"), ACTIVE
    ),
    ActiveRunRow,
)
