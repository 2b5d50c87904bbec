"""Operations: their schedule, who holds them, and where they go on. The clock is the database's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import operations, principals
from deltareg.words import OperationName


@dataclass(frozen=True, slots=True)
class OperationRow:
    """An operation as its row says, with the database's time now."""

    kind: OperationName
    every_us: int | None
    percent: int | None
    paused_at: int | None
    set_by: int | None
    setter: str | None
    due_at: int | None
    asked_at: int | None
    holder: str | None
    held_until: int
    fence: int
    started_at: int | None
    place: Mapping[str, object] | None
    done: int
    total: int | None
    counts: Mapping[str, int] | None
    ended_at: int | None
    outcome: Mapping[str, int] | None
    failure: str | None
    now: int


def add_operation(conn: sa.Connection, kind: OperationName, *, due_in_us: int | None) -> None:
    """Add the row of an operation unless it is there."""
    due = None if due_in_us is None else now_us() + due_in_us
    conn.execute(insert(conn, operations).values(kind=kind, due_at=due).on_conflict_do_nothing())


def operation_rows(conn: sa.Connection) -> Sequence[OperationRow]:
    """List all operations by name."""
    return fetch_all(conn, _select().order_by(operations.c.kind), OperationRow)


def operation_row(conn: sa.Connection, kind: str, *, lock: bool = False) -> OperationRow | None:
    """Find an operation."""
    query = _select().where(operations.c.kind == kind)
    return fetch_one(conn, query.with_for_update(of=operations) if lock else query, OperationRow)


def change_operation(conn: sa.Connection, kind: str, **values: object) -> None:
    """Change the row of an operation that the caller has locked."""
    conn.execute(sa.update(operations).where(operations.c.kind == kind).values(values))


def take_due(conn: sa.Connection, holder: str, *, lease_us: int, kinds: Sequence[OperationName]) -> OperationRow | None:
    """Lease the operation that is due and was not worked on for longest; None if none is free.

    Args:
        conn: A transaction.
        holder: Who takes it.
        lease_us: For how long, µs.
        kinds: The kinds that this server knows.
    """
    due = (
        sa.select(operations.c.kind)
        .where(
            operations.c.kind.in_(kinds),
            operations.c.paused_at.is_(None),
            sa.or_(operations.c.due_at <= now_us(), operations.c.asked_at.is_not(None)),
            sa.or_(operations.c.holder.is_(None), operations.c.held_until <= now_us()),
        )
        .order_by(operations.c.held_until, operations.c.kind)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    kind = conn.execute(due).scalar()
    if kind is None:
        return None
    taken = sa.update(operations).where(operations.c.kind == kind)
    is_new = operations.c.place.is_(None)
    begun = sa.case((is_new, now_us()), else_=operations.c.started_at)
    asked = sa.case((is_new, sa.null()), else_=operations.c.asked_at)
    held = {"holder": holder, "held_until": now_us() + lease_us, "fence": operations.c.fence + 1}
    # Due for as long as it is under way, so that another one goes on after this one.
    due_since = sa.case((operations.c.due_at <= now_us(), operations.c.due_at), else_=now_us())
    conn.execute(taken.values(**held, started_at=begun, asked_at=asked, due_at=due_since))
    return operation_row(conn, kind)


def save_step(conn: sa.Connection, row: OperationRow, *, lease_us: int, **values: object) -> OperationRow | None:
    """Save how far an operation has come, and hold it on; None where somebody else holds it now."""
    held = sa.update(operations).where(
        operations.c.kind == row.kind, operations.c.holder == row.holder, operations.c.fence == row.fence
    )
    if not conn.execute(held.values(held_until=now_us() + lease_us, **values)).rowcount:
        return None
    return operation_row(conn, row.kind)


def let_go_of(conn: sa.Connection, row: OperationRow, **values: object) -> bool:
    """End the lease of an operation, with what is known of it; False where somebody else holds it now."""
    held = sa.update(operations).where(
        operations.c.kind == row.kind, operations.c.holder == row.holder, operations.c.fence == row.fence
    )
    return bool(conn.execute(held.values(holder=None, held_until=now_us(), **values)).rowcount)


def _select() -> sa.Select[*tuple[object, ...]]:
    return sa.select(operations, principals.c.name.label("setter"), now_us().label("now")).outerjoin(
        principals, principals.c.id == operations.c.set_by
    )
