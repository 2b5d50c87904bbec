"""Continuations: after a waiver, the checks skipped behind the failed check run after all.

A static check that fails ends a verification, so all later checks are skipped. A waiver covers only
the failed check: a continuation runs the rest and produces its own verdict, which carries the
waivers of the one that it continues.
"""

from collections.abc import Callable
from uuid import UUID, uuid4

import sqlalchemy as sa

from deltareg.db.runs import runs as queries
from deltareg.db.runs.superseding import AUTOMATIC
from deltareg.db.verdicts.outcomes import key_of_continuation
from deltareg.db.verdicts.rows import VerdictRow
from deltareg.errors import Conflict, NotFound
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.priority import NORMAL
from deltareg.service.registry import Caller
from deltareg.service.runs.kinds.verify import WHAT
from deltareg.service.verdicts.facts import why_uncounted


def queue_continuation(
    conn: sa.Connection, caller: Caller, verdict: VerdictRow, *, new_id: Callable[[], UUID] = uuid4
) -> str:
    """Queue the continuation of a verdict, or join it; return its run id.

    It repeats the request of the earlier run, on the same base and with the same labels.

    Raises:
        Conflict: The verdict does not count any more, so a continuation would be of no use.
    """
    before = queries.run_row(conn, verdict.run_id)
    if before is None:
        raise NotFound(f"the run of verdict {verdict.id} is gone", fix="verify it again")
    uncounted = why_uncounted(verdict)
    if uncounted:
        raise Conflict(
            f"verdict {verdict.id} does not count any more: {uncounted}",
            fix=f"deltareg verify {ref_of(verdict)} --suite {verdict.suite} --again --wait",
        )
    failed = [str(check["name"]) for check in verdict.checks if check["verdict"] == "fail"]
    carried = {name: value for name, value in before.request.items() if name != AUTOMATIC}
    new_run_id = str(new_id())
    run_id = queries.enqueue(
        conn,
        run_id=new_run_id,
        what=WHAT,
        dedup_key=key_of_continuation(verdict.id),
        version_id=verdict.version_id,
        suite=verdict.suite,
        labels=before.labels,
        request=carried | {"continues": verdict.id, "waived": ",".join(failed)},
        priority=NORMAL,
        created_by=caller.principal_id,
    )
    if run_id == new_run_id:
        after = {"version": ref_of(verdict), "suite": verdict.suite, "continues": verdict.id}
        caller.record(conn, Action.RUN_QUEUE, f"run/{run_id}", on=line_of(verdict), before=None, after=after)
    return run_id
