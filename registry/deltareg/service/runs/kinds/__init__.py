"""The kinds of run: how each is queued and ended. One file a kind, one table of them here.

The worker also has a file for each kind (`deltareg_verify.supervisor.runs`); the wire has their
names.
"""

from collections.abc import Mapping

import sqlalchemy as sa

from deltareg.service.registry import Caller
from deltareg.service.runs.kinds import answer, compare, prove, reencode, verify
from deltareg.service.runs.kinds.kind import RunKind

RUN_KINDS: Mapping[str, RunKind] = {
    kind.what: kind for kind in (answer.KIND, compare.KIND, prove.KIND, reencode.KIND, verify.KIND)
}


def queue_where_base_was_missed(conn: sa.Connection, caller: Caller, base_id: int) -> None:
    """Queue whatever waits for a base, now that it is stored."""
    for kind in RUN_KINDS.values():
        kind.on_base(conn, caller, base_id)
