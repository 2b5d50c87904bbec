"""What the queue needs from every kind of run."""

from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from deltareg.db.runs.rows import RunRow
from deltareg.service.registry import Caller
from deltareg.wire import RunKindName


class StoredBaseHook(Protocol):
    """What a kind does when a base is stored."""

    def __call__(self, conn: sa.Connection, caller: Caller, base_id: int) -> None:
        """Queue what waits for the base, in the transaction that stores it."""
        ...


class DeadRunHook(Protocol):
    """What a kind does when a run is dead."""

    def __call__(self, conn: sa.Connection, run: RunRow, *, outcome_id: str, created_by: int | None) -> None:
        """Record, in the transaction that ends the run, that it has no result.

        Args:
            conn: The transaction.
            run: The run, with its error.
            outcome_id: A fresh id for the record.
            created_by: The principal whose worker gave up; None for the registry itself.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunKind:
    """A kind of run. Its own file says how a run is queued and how it ends well.

    Attributes:
        what: Its name, in tables and on the wire.
        on_base: What to do when a base is stored.
        on_death: What to do when a run is dead.
    """

    what: RunKindName
    on_base: StoredBaseHook
    on_death: DeadRunHook
