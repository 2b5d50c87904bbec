"""Operations as people see and steer them: list, pause, resume, set how often, and do one now."""

import sqlalchemy as sa

from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.upkeep import operations as queries
from deltareg.db.upkeep.operations import OperationRow
from deltareg.errors import NotFound
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.clock import rfc3339_or_none
from deltareg.service.events import Action
from deltareg.service.operations.kinds import all_operations, find_operation
from deltareg.service.operations.working import PERCENT
from deltareg.service.registry import Caller, Registry
from deltareg.wire import OperationChange, OperationInfo
from deltareg.words import OperationState


def list_operations(registry: Registry, caller: Caller) -> list[OperationInfo]:
    """List all operations by name, as an admin."""
    caller.require(Right.ADMIN, on=EVERYTHING)
    with read(registry.engine) as conn:
        rows = {row.kind: row for row in queries.operation_rows(conn)}
    return [_describe(rows[kind]) for kind in all_operations() if kind in rows]


def show_operation(registry: Registry, caller: Caller, kind: str) -> OperationInfo:
    """Show an operation, as an admin.

    Raises:
        NotFound: There is none of this name.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    find_operation(kind)
    with read(registry.engine) as conn:
        return _describe(_require_row(queries.operation_row(conn, kind)))


def change_operation(registry: Registry, caller: Caller, kind: str, change: OperationChange) -> OperationInfo:
    """Pause or resume an operation, set how often it is done and how much time it takes, or ask for it now.

    What is under way stops after its step when it is paused, and goes on from there when it is
    resumed.

    Raises:
        NotFound: There is none of this name.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    operation = find_operation(kind)

    def transaction(conn: sa.Connection) -> OperationInfo:
        queries.add_operation(conn, operation.kind, due_in_us=None)
        before = _require_row(queries.operation_row(conn, kind, lock=True))
        values: dict[str, object] = {"set_by": caller.principal_id}
        if change.paused is not None:
            values["paused_at"] = now_us() if change.paused else None
        if change.every_s is not None:
            values["every_us"] = every_us = round(change.every_s * US_PER_S)
            if before.place is None:
                values["due_at"] = now_us() + every_us if every_us else None
        if change.percent is not None:
            values["percent"] = change.percent
        if change.now:
            values["asked_at"] = now_us()
        queries.change_operation(conn, kind, **values)
        after = _require_row(queries.operation_row(conn, kind))
        told = {name: value for name, value in change.model_dump(exclude_none=True).items() if value is not False}
        if change.paused is not None:
            told["paused"] = change.paused
        caller.record(
            conn,
            Action.OPERATION_SET,
            f"operation/{kind}",
            on=EVERYTHING,
            before={"paused": before.paused_at is not None},
            after=told,
        )
        return _describe(after)

    return with_retry(registry.engine, transaction)


def _require_row(row: OperationRow | None) -> OperationRow:
    if row is None:  # of a registry that no server has served yet
        raise NotFound("no server has begun with its operations yet", fix="start one: deltareg server run")
    return row


def _describe(row: OperationRow) -> OperationInfo:
    operation = all_operations()[row.kind]
    every_s = operation.every_s if row.every_us is None else row.every_us / US_PER_S
    is_held = row.holder is not None and row.held_until > row.now
    state: OperationState = "waiting"
    if row.paused_at is not None:
        state = "paused"
    elif is_held or row.place is not None:
        state = "running"
    elif row.due_at is None and row.asked_at is None:
        state = "off"
    return OperationInfo(
        kind=row.kind,
        about=operation.about,
        state=state,
        every_s=every_s,
        percent=row.percent or PERCENT,
        due_at=rfc3339_or_none(row.due_at if row.asked_at is None else row.asked_at),
        is_under_way=row.place is not None or is_held,
        started_at=rfc3339_or_none(row.started_at if row.place is not None or is_held else None),
        done=row.done,
        total=row.total,
        counts=dict(row.counts or {}),
        ended_at=rfc3339_or_none(row.ended_at),
        outcome=dict(row.outcome or {}),
        failure=row.failure or "",
        set_by=row.setter or "",
    )
