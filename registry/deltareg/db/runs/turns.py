"""The order of the queue: namespaces take turns, and in each of them the principals do.

Among runs of one priority, a run takes two places when it is queued. Its `turn` is one behind the
last run of its namespace, and behind the last one that was served, whichever is later; its
`turn_inside` is the same among the runs of its namespace, by who queued them (start-time fair
queueing on two levels; Goyal, Vin and Cheng 1996, with every run of cost one).

The turns of a namespace are its own, not those of single runs: whichever of its runs is next inside
takes the first of them, by a swap when it is claimed. So somebody who queues a thousand runs delays
neither another namespace's single run nor that of a colleague, and a claim reads the heads of two
indexes, however long the queue is.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.runs.rows import ClaimableRow, MembersRow, PlaceRow, ShownRunRow, SlotRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.prepared import PreparedQuery, PreparedStatement
from deltareg.db.tables import bases, deltas, namespaces, runs, versions
from deltareg.db.tables.runs import ACTIVE

_PAGE = 50
EXPIRED = sa.and_(runs.c.state == "running", runs.c.lease_expires_at < now_us())
CLAIMABLE = sa.and_(
    ACTIVE,  # implied by what follows; it lets the planner use the partial index
    sa.or_(runs.c.state == "queued", sa.and_(EXPIRED, runs.c.attempt < runs.c.max_attempts)),
)
WAITS = sa.or_(runs.c.state == "queued", EXPIRED)
TURNS = (runs.c.turn, runs.c.created_at, runs.c.id)
ORDER = (runs.c.priority.desc(), *TURNS)
INSIDE = (runs.c.turn_inside, runs.c.created_at, runs.c.id)

Lane = tuple[int, int | None]
"""A priority and a namespace; None is for what is in no namespace, such as a base that all share."""


def namespace_of(conn: sa.Connection, *, version_id: int | None, base_id: int | None) -> int | None:
    """Return the namespace whose turn a run takes: that of its version, or of its base's name."""
    if version_id is not None:
        return _NAMESPACE.fetch_int(conn, version_id=version_id)
    name = conn.execute(sa.select(bases.c.name).where(bases.c.id == base_id)).scalar() or ""
    owner, slash, _ = str(name).partition("/")
    if not slash:
        return None
    return conn.execute(sa.select(namespaces.c.id).where(namespaces.c.name == owner)).scalar()


def place(conn: sa.Connection, lane: Lane, *, created_by: int | None) -> PlaceRow:
    """Return the turns of a run that is queued now, in one query."""
    priority, namespace_id = lane
    query = _place(is_in_namespace=namespace_id is not None, is_made_by_somebody=created_by is not None)
    return query.require(conn, priority=priority, namespace_id=namespace_id, created_by=created_by)


def in_turn(
    reading: Callable[[], AbstractContextManager[sa.Connection]], *conditions: sa.ColumnElement[bool]
) -> Iterator[ClaimableRow]:
    """Yield runs that may be claimed, the next one first, read a page at a time. No row is locked.

    Args:
        reading: Opens a transaction that reads; the caller may write between two runs.
        conditions: What the runs have to be.
    """
    lanes: dict[Lane, deque[ClaimableRow]] = {}
    last: dict[Lane, ClaimableRow] = {}
    conditions = (ACTIVE, CLAIMABLE, *conditions)
    behind: sa.ColumnElement[bool] = sa.true()
    while slots := _page(reading, ORDER, conditions, behind):
        of_page = [lane_of(slot) for slot in slots]
        for index, lane in enumerate(of_page):
            if not lanes.setdefault(lane, deque()):
                is_next = sa.and_(_is_in(lane), _is_behind_inside(last.get(lane)))
                lanes[lane] = deque(_page(reading, INSIDE, conditions, is_next, limit=of_page[index:].count(lane)))
            if lanes[lane]:  # else others have claimed meanwhile what was there
                last[lane] = lanes[lane].popleft()
                yield last[lane]
        behind = _is_behind(slots[-1])


def lane_of(run: ClaimableRow | ShownRunRow) -> Lane:
    """Return the lane of a run."""
    return run.priority, run.namespace_id


def take_turn(conn: sa.Connection, run_id: str) -> ClaimableRow | None:
    """Lock a run for its claim, and give it the first turn of its namespace.

    The run that had that turn gets the claimed one's. What others are claiming is skipped, with the
    turns that they take. None if another worker holds the run or is claiming it.
    """
    run = _lock(conn, sa.select(*_COLUMNS).where(runs.c.id == run_id, CLAIMABLE))
    if run is None:
        return None
    first = sa.select(*_COLUMNS).where(CLAIMABLE, _is_in(lane_of(run))).order_by(*TURNS).limit(1)
    slot = _lock(conn, first)
    if slot is None or slot.id == run.id:
        return run
    for row, turn in ((slot, run.turn), (run, slot.turn)):
        conn.execute(sa.update(runs).where(runs.c.id == row.id).values(turn=turn))
    return run


def place_of(conn: sa.Connection, run: ShownRunRow) -> int:
    """Count the runs that a worker of all kinds would get before a waiting one."""
    waiting = sa.and_(ACTIVE, WAITS)
    is_in_lane = sa.and_(waiting, _is_in(lane_of(run)))
    before = sa.tuple_(*INSIDE) < (run.turn_inside, run.created_at, run.id)
    ahead_inside = conn.execute(sa.select(sa.func.count()).where(is_in_lane, before)).scalar_one()
    slot = sa.select(*TURNS).where(is_in_lane).order_by(*TURNS).offset(ahead_inside).limit(1)
    turn = conn.execute(slot).one_or_none()
    if turn is None:  # it waits no more
        return ahead_inside
    ahead = sa.or_(
        runs.c.priority > run.priority, sa.and_(runs.c.priority == run.priority, sa.tuple_(*TURNS) < tuple(turn))
    )
    return conn.execute(sa.select(sa.func.count()).where(waiting, ahead)).scalar_one()


def places() -> sa.Subquery:
    """Select the id and place of every waiting run, from 1, in one walk over the queue."""
    lane: tuple[Any, ...] = (runs.c.priority, sa.func.coalesce(runs.c.namespace_id, 0))
    waiting = sa.and_(ACTIVE, WAITS)
    members = (
        sa.select(
            runs.c.id,
            lane[0].label("priority"),
            lane[1].label("lane"),
            sa.func.row_number().over(partition_by=lane, order_by=INSIDE).label("number"),
        )
        .where(waiting)
        .subquery("members")
    )
    slots = (
        sa.select(
            lane[0].label("priority"),
            lane[1].label("lane"),
            sa.func.row_number().over(partition_by=lane, order_by=TURNS).label("number"),
            sa.func.row_number().over(order_by=ORDER).label("place"),
        )
        .where(waiting)
        .subquery("slots")
    )
    is_same = sa.and_(*(members.c[name] == slots.c[name] for name in ("priority", "lane", "number")))
    return sa.select(members.c.id, slots.c.place).select_from(members.join(slots, is_same)).subquery("places")


def next_in_line(conn: sa.Connection, *, limit: int) -> list[str]:
    """List the ids of the runs that wait, the next one first, up to a limit; it reads no more of the queue."""
    lanes = {(row.priority, row.namespace_id): iter(row.members.split(",")) for row in _MEMBERS.all(conn, wanted=limit)}
    return [next(lanes[slot.priority, slot.namespace_id]) for slot in _SLOTS.all(conn, wanted=limit)]


_COLUMNS = tuple(runs.c[one.name] for one in fields(ClaimableRow))


def _page(
    reading: Callable[[], AbstractContextManager[sa.Connection]],
    order: Sequence[sa.ColumnElement[Any]],
    conditions: Sequence[sa.ColumnElement[bool]],
    where: sa.ColumnElement[bool],
    *,
    limit: int = _PAGE,
) -> Sequence[ClaimableRow]:
    query = sa.select(*_COLUMNS).where(*conditions, where).order_by(*order).limit(limit)
    with reading() as conn:
        return fetch_all(conn, query, ClaimableRow)


def _is_in(lane: Lane) -> sa.ColumnElement[bool]:
    return sa.and_(runs.c.priority == lane[0], runs.c.namespace_id == lane[1])


def _is_behind(slot: ClaimableRow) -> sa.ColumnElement[bool]:
    later = sa.tuple_(*TURNS) > (slot.turn, slot.created_at, slot.id)
    return sa.or_(runs.c.priority < slot.priority, sa.and_(runs.c.priority == slot.priority, later))


def _is_behind_inside(run: ClaimableRow | None) -> sa.ColumnElement[bool]:
    return sa.true() if run is None else sa.tuple_(*INSIDE) > (run.turn_inside, run.created_at, run.id)


def _lock(conn: sa.Connection, query: sa.Select[*tuple[Any, ...]]) -> ClaimableRow | None:
    return fetch_one(conn, query.with_for_update(skip_locked=True), ClaimableRow)


def _last(column: sa.ColumnElement[int], *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    newest = sa.select(sa.func.max(column)).where(*conditions).scalar_subquery()
    return sa.func.coalesce(newest, 0)


@cache
def _place(*, is_in_namespace: bool, is_made_by_somebody: bool) -> PreparedQuery[PlaceRow]:
    """Prepare what `place` asks; a parameter that may be NULL would keep the database from its indexes."""
    is_of_priority = runs.c.priority == sa.bindparam("priority")
    is_in_lane = sa.and_(_is_given(runs.c.namespace_id, is_some=is_in_namespace), is_of_priority)
    is_own = _is_given(runs.c.created_by, is_some=is_made_by_somebody)
    is_served = runs.c.started_at.is_not(None)
    turn = _after(_last(runs.c.turn, ACTIVE, is_in_lane), _last(runs.c.turn, is_served, is_of_priority))
    inside = _after(
        _last(runs.c.turn_inside, ACTIVE, is_in_lane, is_own), _last(runs.c.turn_inside, is_served, is_in_lane)
    )
    return PreparedQuery(sa.select(turn.label("turn"), inside.label("turn_inside")), PlaceRow)


def _is_given(column: sa.Column[int], *, is_some: bool) -> sa.ColumnElement[bool]:
    return column == sa.bindparam(column.name) if is_some else column.is_(None)


def _after(own: sa.ColumnElement[int], served: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return 1 + sa.case((own > served, own), else_=served)


# Written out: as a parameter it would be put into the text at each run, which a prepared query is not made for.
_COMMA: Final[Any] = sa.literal_column("','", sa.Text)


def _select_slots() -> sa.Select[int, int | None]:
    """Select the lanes of the runs that wait, in the order of their turns."""
    wanted = sa.bindparam("wanted", type_=sa.BigInteger)
    query = sa.select(runs.c.priority, runs.c.namespace_id).where(ACTIVE, WAITS)
    return query.order_by(*ORDER).limit(wanted)


def _select_members() -> sa.Select[int, int | None, str]:
    """Select the lanes of these, and the ids of those that are next in each: at least as many as it has places."""
    slots = _select_slots().cte("slots")
    lanes = (
        sa.select(slots.c.priority, slots.c.namespace_id, sa.func.count().label("places"))
        .group_by(slots.c.priority, slots.c.namespace_id)
        .cte("lanes")
    )
    most = sa.select(sa.func.max(lanes.c.places)).scalar_subquery()

    def members(is_in: sa.ColumnElement[bool]) -> sa.ScalarSelect[str]:
        query = sa.select(runs.c.id).where(ACTIVE, WAITS, runs.c.priority == lanes.c.priority, is_in)
        ordered = query.order_by(*INSIDE).limit(most).correlate(lanes).subquery("ordered")
        return sa.select(sa.func.aggregate_strings(ordered.c.id, _COMMA)).correlate(lanes).scalar_subquery()

    # Apart, as an index is of use to each of them and to no condition of both.
    own, shared = members(runs.c.namespace_id == lanes.c.namespace_id), members(runs.c.namespace_id.is_(None))
    return sa.select(
        lanes.c.priority,
        lanes.c.namespace_id,
        sa.case((lanes.c.namespace_id.is_(None), shared), else_=own).label("members"),
    )


_NAMESPACE: Final = PreparedStatement(
    sa.select(deltas.c.namespace_id)
    .join(versions, versions.c.delta_id == deltas.c.id)
    .where(versions.c.id == sa.bindparam("version_id"))
)
_SLOTS: Final = PreparedQuery(_select_slots(), SlotRow)
_MEMBERS: Final = PreparedQuery(_select_members(), MembersRow)
