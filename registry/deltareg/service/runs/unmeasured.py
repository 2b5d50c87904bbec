"""Verifications on a base that could not be measured: they end at once, unless somebody asks again.

What every delta of a base is held against is measured once by each worker. A base whose chat
template loops would hold a worker for each of its versions; so that it could not be measured is
remembered, by device. A worker that measured it takes its versions, and others leave them to that
one. Where nobody has, a verification ends as inconclusive before a worker has begun it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa

from deltareg.db.bases import unmeasured as queries
from deltareg.db.bases.rows import BaseRow, UnmeasuredRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.runs import runs as run_queries
from deltareg.db.runs.rows import ClaimableRow, RunRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.service.registry import Registry
from deltareg.service.runs.death import tell_death
from deltareg.service.runs.ends import UNMEASURED, result_of_end
from deltareg.service.runs.kinds.prove import ANEW
from deltareg.service.runs.kinds.verify import WHAT
from deltareg.service.runs.run_base import base_of_run
from deltareg.service.runs.unnamed import make_redactor
from deltareg.service.verdicts.suites import suite_of
from deltareg.suites.base_probes import CHECKS_ON_THEM


@dataclass(slots=True)
class UnmeasuredBases:
    """The bases that a worker cannot be expected to measure.

    Attributes:
        registry: The registry.
        device: What the worker computes on, as its labels say it.
        keyid: The worker's key.
        new_id: Returns fresh ids for verdicts.
    """

    registry: Registry
    device: str
    keyid: str
    new_id: Callable[[], UUID]
    _rows: dict[int, UnmeasuredRow] | None = field(default=None, init=False)

    def passes_over(self, row: ClaimableRow) -> bool:
        """Whether the worker leaves a run alone: to another one, or because it just ended."""
        if row.what != WHAT or row.version_id is None or ANEW in row.request or not self._read_once():
            return False
        with read(self.registry.engine) as conn:
            base = base_of_run(conn, row.request, version_queries.version_by_id(conn, row.version_id))
            found = None if base is None else self._read_once().get(base.id)
            if base is None or found is None or not _needs_figures(conn, row):
                return False
        if not found.is_measured:
            with_retry(self.registry.engine, lambda conn: self._end(conn, row, tell(base, self.device, found.reason)))
        return True

    def _read_once(self) -> dict[int, UnmeasuredRow]:
        if self._rows is None:
            with read(self.registry.engine) as conn:
                rows = queries.unmeasured_rows(conn, device=self.device, keyid=self.keyid)
            self._rows = {row.base_id: row for row in rows}
        return self._rows

    def _end(self, conn: sa.Connection, row: ClaimableRow, error: str) -> None:
        shown = run_queries.run_row(conn, row.id)
        if shown is None:
            return
        error = make_redactor(conn, shown)(error)
        run = run_queries.end_unbegun(conn, row.id, error=error, result=result_of_end(UNMEASURED))
        if run is not None:
            tell_death(conn, run, self.new_id, before=shown.state)


def note_unmeasured(
    conn: sa.Connection, run: RunRow, *, device: str, seconds: int, reason: str, created_by: int
) -> str:
    """Remember that a worker could not measure the base of its run; return the sentence about it."""
    base = base_of_run(conn, run.request, version_queries.version_by_id(conn, present(run.version_id)))
    if base is None:
        return reason
    queries.note_unmeasured(conn, base.id, device=device, seconds=seconds, reason=reason, created_by=created_by)
    return tell(base, device, reason)


def tell(base: BaseRow, device: str, reason: str) -> str:
    """Say that a base could not be measured, and why."""
    return f"the base {base.name} could not be measured on {device or 'this device'}: {reason}"


def _needs_figures(conn: sa.Connection, row: ClaimableRow) -> bool:
    suite = suite_of(conn, row.suite, row.request["suite_digest"])
    return any(spec.check in CHECKS_ON_THEM for spec in suite.checks)
