"""Doing what is due: a server takes an operation, does steps of it, and lets it go for the next.

The lease is a row of the database, by its clock. A server that is killed in a step loses the lease
when it runs out, and another goes on from the place that was saved after the step before.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from deltareg.db.session import with_retry
from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.upkeep import operations as queries
from deltareg.db.upkeep.operations import OperationRow
from deltareg.errors import DeltaregError
from deltareg.service.operations.kinds import all_operations
from deltareg.service.operations.operation import KeepingTimes, Operation, StepContext, StepOutcome
from deltareg.service.registry import Registry

log = logging.getLogger(__name__)
PERCENT = 25
"""Of the time of one process, what an operation takes unless somebody set it."""


@dataclass(frozen=True, slots=True)
class OperationPace:
    """The times of operations, in seconds.

    Attributes:
        lease_s: After how long another server goes on for one that was killed.
        slice_s: How long one operation is worked on while others wait.
        pause_s: How long is waited after a step at most.
        retry_s: How long is waited after a failure.
    """

    lease_s: float = 120.0
    slice_s: float = 20.0
    pause_s: float = 30.0
    retry_s: float = 300.0


@dataclass(frozen=True, slots=True)
class OperationWorker:
    """One server that does what is due.

    Attributes:
        registry: The database and the store.
        keeping: How long what has done its work is kept.
        rest: Waits for some seconds; True if the server ends.
        pace: The times.
        holder: Its name in the leases.
    """

    registry: Registry
    keeping: KeepingTimes
    rest: Callable[[float], bool]
    pace: OperationPace = field(default_factory=OperationPace)
    holder: str = field(default_factory=lambda: uuid4().hex)

    def add_operations(self) -> None:
        """Add rows for the kinds that have none, and ask for what each start asks for."""

        def transaction(conn: sa.Connection) -> None:
            for operation in all_operations().values():
                first_us = round(operation.every_s * US_PER_S) if operation.every_s else None
                queries.add_operation(conn, operation.kind, due_in_us=first_us)
                if operation.is_due_at_start:
                    row = queries.operation_row(conn, operation.kind, lock=True)
                    if row is not None and row.due_at is not None and row.every_us != 0:
                        queries.change_operation(conn, operation.kind, asked_at=now_us())

        with_retry(self.registry.engine, transaction)

    def work_on_one(self) -> bool:
        """Take an operation that is due, and work on it for a while; False if there is none."""
        kinds = sorted(all_operations())
        take = partial(queries.take_due, holder=self.holder, lease_us=self._lease_us, kinds=kinds)
        row = with_retry(self.registry.engine, take)
        if row is None:
            return False
        until = time.monotonic() + self.pace.slice_s
        while row is not None:
            row = self._step(all_operations()[row.kind], row, until)
        return True

    @property
    def _lease_us(self) -> int:
        return round(self.pace.lease_s * US_PER_S)

    def _step(self, operation: Operation, row: OperationRow, until: float) -> OperationRow | None:
        """Do a step and save it; None where this server does not hold the operation any more."""
        began = time.monotonic()
        try:
            context = StepContext(self.registry, self.keeping, row.set_by)
            outcome = operation.step(context, row.place or {})
        except (DeltaregError, SQLAlchemyError) as error:  # nobody above: it is kept, told and tried again
            why = error.message if isinstance(error, DeltaregError) else str(error)
            log.warning("%s: not done, it is tried again: %s", operation.kind, why)
            self._let_go(row, failure=why[:500], due_at=now_us() + round(self.pace.retry_s * US_PER_S))
            return None
        counts = _add(row.counts or {}, outcome.counts)
        if outcome.place is None:
            self._end_round(operation, row, counts)
            return None
        return self._save(row, outcome, counts, took_s=time.monotonic() - began, until=until)

    def _save(
        self, row: OperationRow, outcome: StepOutcome, counts: Mapping[str, int], *, took_s: float, until: float
    ) -> OperationRow | None:
        total = row.total if outcome.total is None else outcome.total
        values = {"place": outcome.place, "counts": counts, "done": row.done + outcome.done, "total": total}
        saved = self._keep(row, **values)
        if saved is None:
            log.warning("%s: another server does it now", row.kind)
            return None
        if outcome.rest_s:
            self._let_go(saved, due_at=now_us() + round(outcome.rest_s * US_PER_S))
            return None
        percent = saved.percent or PERCENT
        pause_s = min(took_s * (100 / percent - 1), self.pace.pause_s)
        is_over = saved.paused_at is not None or self.rest(pause_s) or time.monotonic() >= until
        after: OperationRow | None = saved if is_over else self._keep(saved)  # somebody may have paused it meanwhile
        if after is not None and (is_over or after.paused_at is not None):
            self._let_go(after)
            return None
        return after

    def _end_round(self, operation: Operation, row: OperationRow, counts: Mapping[str, int]) -> None:
        every_us = round(operation.every_s * US_PER_S) if row.every_us is None else row.every_us
        is_ended = self._let_go(
            row,
            place=None,
            done=0,
            total=None,
            counts=None,
            outcome=dict(counts),
            failure=None,
            ended_at=now_us(),
            due_at=now_us() + every_us if every_us else None,
        )
        if is_ended and counts:
            log.info("%s: %s", operation.kind, ", ".join(f"{name} {number}" for name, number in counts.items()))

    def _keep(self, row: OperationRow, **values: object) -> OperationRow | None:
        lease_us = self._lease_us
        return with_retry(self.registry.engine, lambda conn: queries.save_step(conn, row, lease_us=lease_us, **values))

    def _let_go(self, row: OperationRow, **values: object) -> bool:
        return with_retry(self.registry.engine, lambda conn: queries.let_go_of(conn, row, **values))


def _add(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) + more.get(name, 0) for name in [*counts, *(set(more) - set(counts))]}
