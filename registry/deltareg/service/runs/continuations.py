"""Continuations: after a waiver, what was skipped behind the failed check runs after all.

A static check that fails ends a verification, so that all behind it is skipped. Whoever answers for
that check answers for it alone: a run makes up for the rest and gives a verdict of its own, which
has the waivers of the one that it continues.
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
    """Queue the run that makes up for what a verdict left out, or join it; give its id.

    It judges by what the run before was asked for, on the same base and labels.

    Raises:
        Conflict: The verdict does not count any more, so nothing would come of it.
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
    asked = {name: value for name, value in before.request.items() if name != AUTOMATIC}
    wanted = str(new_id())
    run_id = queries.enqueue(
        conn,
        run_id=wanted,
        what=WHAT,
        dedup_key=key_of_continuation(verdict.id),
        version_id=verdict.version_id,
        suite=verdict.suite,
        labels=before.labels,
        request=asked | {"continues": verdict.id, "waived": ",".join(failed)},
        priority=NORMAL,
        created_by=caller.principal_id,
    )
    if run_id == wanted:
        after = {"version": ref_of(verdict), "suite": verdict.suite, "continues": verdict.id}
        caller.record(conn, Action.RUN_QUEUE, f"run/{run_id}", on=line_of(verdict), before=None, after=after)
    return run_id
