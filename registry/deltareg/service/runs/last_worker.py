"""The last free worker is kept from a namespace that holds all others, for what may take very long.

Turns alone do not help who comes while a namespace holds every worker: nothing takes a run away from
a worker. So where all other workers of a device serve one namespace, the last one takes no run of
it whose cost nobody knows: nothing on its base has come to an end yet, or a run of the namespace ran
out of time within a day. All else goes on on all workers.
"""

from dataclasses import dataclass, field

import sqlalchemy as sa

from deltareg.db.lines import versions as version_queries
from deltareg.db.runs import held as queries
from deltareg.db.runs.rows import ClaimableRow
from deltareg.db.session import read
from deltareg.db.sql.clock import US_PER_S
from deltareg.service.labels import is_for_one_run
from deltareg.service.registry import Registry
from deltareg.service.runs.ends import OUT_OF_TIME, UNMEASURED
from deltareg.service.runs.info import LIVE_US
from deltareg.service.runs.kinds.prove import WHAT as PROVE
from deltareg.service.runs.run_base import base_of_run
from deltareg.wire import LeaseRequest

_LATELY_US = 86_400 * US_PER_S


@dataclass(slots=True)
class LastWorker:
    """A worker that asks for work, if it may be the last free one.

    Attributes:
        registry: The registry.
        request: What it asks for.
    """

    registry: Registry
    request: LeaseRequest
    _holder: int | None = field(default=None, init=False)
    _is_known: bool = field(default=False, init=False)

    def is_kept_from(self, row: ClaimableRow) -> bool:
        """Whether the worker leaves a run alone, so that others find a worker."""
        if row.namespace_id is None or row.what == PROVE or row.namespace_id != self._namespace():
            return False
        with read(self.registry.engine) as conn:
            return not _is_known_to_end(conn, row) or queries.has_died(
                conn, row.namespace_id, codes=(OUT_OF_TIME, UNMEASURED), within_us=_LATELY_US
            )

    def _namespace(self) -> int | None:
        """Return the namespace that all other workers serve; None where there is none."""
        if not self._is_known:
            with read(self.registry.engine) as conn:
                rows = queries.held_rows(conn, seen_within_us=LIVE_US)
            device = self.request.labels.get("device", "")
            others = [row for row in rows if row.name != self.request.worker and not is_for_one_run(row.labels)]
            served = {row.namespace_id for row in others if row.labels.get("device", "") == device}
            self._holder = served.pop() if len(served) == 1 else None
            self._is_known = True
        return self._holder


def _is_known_to_end(conn: sa.Connection, row: ClaimableRow) -> bool:
    """Whether something on the base of a run has come to an end."""
    if row.version_id is None:
        return True
    base = base_of_run(conn, row.request, version_queries.version_by_id(conn, row.version_id))
    return base is not None and queries.has_come_to_an_end(conn, base.id)
